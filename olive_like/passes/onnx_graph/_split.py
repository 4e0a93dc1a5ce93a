"""One graph cut into several that run one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._adapter_files import select_adapters
from olive_like.passes._onnx_files import check, components, copy_side_files, describe_io, load_ir, load_proto, save_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._chain import verify_chains
from olive_like.passes.onnx_quantize._select import name_nodes

_SCOPES = "pkg.torch.onnx.name_scopes"  # where the newer exporter writes the modules that a node comes from


_OF_THE_WHOLE = ("components", "split_assignments", "adapters")


def split(model: OnnxModel, config: Any, context: Context) -> CompositeModel:
    """Cut by the assignments, or into parts of about equal weight."""
    graphs = components(model)
    if len(graphs) != 1:
        raise PassError(f"the model has {len(graphs)} graphs ({', '.join(graphs)}) and is split already")
    path = next(iter(graphs.values()))
    whole = _opened(path)
    wanted = _assignments(config.split_assignments or model.attributes.get("split_assignments"))
    if not wanted and not config.num_splits:
        raise PassError(
            "it is not said where to split", "Give `num_splits`, or `split_assignments: {model.layers.0: 0, …}`."
        )
    part_of = _by_modules(whole, wanted) if wanted else _by_weight(whole, config.num_splits)
    numbers = sorted(set(part_of))
    entries, written = [], []
    for position, number in enumerate(numbers):
        folder = context.output / f"split_{position}"
        graph = _opened(path)
        _keep(graph, [part == number for part in part_of])
        file = save_ir(graph, folder / "model.onnx", config)
        header = load_proto(file)
        check(header, file)
        attributes = {key: value for key, value in model.attributes.items() if key not in _OF_THE_WHOLE}
        attributes |= {"file": file.name, "io": describe_io(header)}
        if adapters := select_adapters([model], (value.name for value in header.graph.input), folder):
            attributes["adapters"] = adapters
        entries.append(
            {"name": f"split_{position}", "kind": "onnx_model", "path": folder.name, "attributes": attributes}
        )
        written.append(file)
    copy_side_files(model, context.output)
    context.note(f"{len(part_of)} nodes in {len(numbers)} parts: {', '.join(str(part_of.count(n)) for n in numbers)}")
    verified = verify_chains(model, [path], written, config, context)
    outputs = [value["name"] for value in describe_io(load_proto(path))["outputs"]]
    shared = {"task": model.attributes.get("task"), "verified": verified, "outputs": outputs}
    return CompositeModel(
        context.output, {"components": entries, **{key: value for key, value in shared.items() if value is not None}}
    )


def _opened(path: Path) -> ir.Model:
    graph = load_ir(path)
    name_nodes(graph)
    common.ShapeInferencePass()(graph)
    return graph


def _assignments(given: Any) -> dict[str, int]:
    if isinstance(given, dict):
        return {str(name): int(part) for name, part in given.items()}
    result = {}
    for entry in filter(None, (part.strip() for part in (given or "").split(";"))):
        name, sign, number = entry.partition("=")
        if not sign or not number.strip().isdigit():
            raise PassError(f"split_assignments has {entry!r}", "Write `name=number`, separated by semicolons.")
        result[name.strip()] = int(number)
    return result


def _by_modules(graph: ir.Model, wanted: dict[str, int]) -> list[int]:
    """The part of every node: its module's, or the last of those whose values it needs."""
    parts: dict[ir.Node, int] = {}
    result, seen = [], set()
    for node in graph.graph:
        least = max((parts[source] for source in _sources(node)), default=min(wanted.values()))
        module = _module_of(node, wanted)
        if module is not None:
            seen.add(module)
            if wanted[module] < least:
                raise PassError(
                    f"{node.name!r} of {module} is in part {wanted[module]} but needs values of part {least}",
                    "Parts run in the order of their numbers.",
                )
            least = wanted[module]
        parts[node] = least
        result.append(least)
    missing = sorted(set(wanted) - seen)
    if missing:
        raise PassError(
            f"no node of the graph belongs to the module {missing[0]!r}",
            "Nodes are found by their names (/model/layers.0/…) or by the exporter's metadata.",
        )
    return result


def _module_of(node: ir.Node, wanted: dict[str, int]) -> str | None:
    """The longest of the modules that the node comes from."""
    names = [str(node.name).strip("/").replace("/", ".")]
    scopes = node.metadata_props.get(_SCOPES, "")
    names += [name.strip(" '\"") for name in scopes.strip("[]").split(",")]
    hits = [module for module in wanted for name in names if f".{name}.".find(f".{module}.") >= 0]
    return max(hits, key=len, default=None)


def _by_weight(graph: ir.Model, count: int) -> list[int]:
    """Parts of about as many bytes of weights, in the order of the nodes."""
    counted: set[int] = set()
    sizes = []
    for node in graph.graph:
        fresh = [v for v in node.inputs if v is not None and v.const_value is not None and id(v) not in counted]
        counted |= {id(value) for value in fresh}
        sizes.append(sum(value.const_value.nbytes for value in fresh if value.const_value is not None))
    total, so_far, result = sum(sizes) or len(sizes), 0, []
    for size in sizes:
        size = size if sum(sizes) else 1
        result.append(min(count - 1, (2 * so_far + size) * count // (2 * total)))  # where the node's middle falls
        so_far += size
    return result


def _sources(node: ir.Node) -> Iterator[ir.Node]:
    """Nodes of the main graph whose values a node reads, its subgraphs included."""
    for value in _read(node):
        source = value.producer()
        if source is not None and source.graph is node.graph:
            yield source


def _read(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        graphs = (
            [attribute.value]
            if attribute.type == ir.AttributeType.GRAPH
            else attribute.value
            if attribute.type == ir.AttributeType.GRAPHS
            else []
        )
        for graph in graphs:
            for inner in graph:
                yield from _read(inner)
            yield from graph.outputs


def _keep(model: ir.Model, chosen: list[bool]) -> None:
    """Reduce a graph to some of its nodes; what comes from the others becomes an input, what they need an output."""
    graph = model.graph
    nodes = list(graph)
    kept = {node for node, keep in zip(nodes, chosen, strict=True) if keep}
    needed: dict[ir.Value, None] = {}
    for node in nodes:
        if node in kept:
            needed.update(dict.fromkeys(value for value in _read(node)))
    inputs = [value for value in graph.inputs if value in needed]
    others = set(nodes) - kept
    outer = [value for value in needed if value.producer() in others]
    outside = {value for node in nodes if node not in kept for value in _read(node)}
    outputs = [v for node in nodes if node in kept for v in node.outputs if v in outside or v.is_graph_output()]
    graph.outputs.clear()
    for value in outer:
        if value.type is None:
            raise PassError(f"the type of {value.name!r}, at the edge of two parts, is not known")
        stand_in = ir.Value(name=value.name, type=value.type, shape=value.shape)
        inputs.append(stand_in)
        ir.convenience.replace_all_uses_with(value, stand_in)
    graph.remove([node for node in nodes if node not in kept])
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    graph.outputs.extend(outputs)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in outputs:
            del graph.initializers[name]
