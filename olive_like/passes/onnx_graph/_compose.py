"""Several graphs put together into one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._adapter_files import select_adapters
from olive_like.passes._onnx_files import clone, components, copy_side_files, finish, load_ir, save_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._chain import verify_chains

_FILE = "model.onnx"
_OF_A_PART = ("components", "io", "adapters")


def compose(models: list[Any], config: Any, context: Context) -> OnnxModel:
    """Chain all parts of all inputs, in their order."""
    parts = [part for model in models for part in _parts(model)]
    paths = [(name, path) for name, part in parts for path in components(part).values()]
    if len(paths) < 2:
        raise PassError("there is one model only, and nothing to compose it with", "Give the pass several inputs.")
    keep = {name for model in models for name in _outputs_of_the_whole(model)} | set(config.keep_outputs)
    joined, dropped = join([(name, load_ir(path)) for name, path in paths], keep)
    _check_kept(config.keep_outputs, [*(str(value.name) for value in joined.graph.outputs), *dropped])
    if dropped and not any(isinstance(model, CompositeModel) for model in models):
        context.note(f"no outputs of the whole, as a later model reads them: {', '.join(dropped)} (see `keep_outputs`)")
    inputs = [str(value.name) for value in joined.graph.inputs]
    save_ir(joined, context.output / _FILE, config)
    first = parts[0][1]
    copy_side_files(first, context.output)
    for model in models:
        if isinstance(model, CompositeModel):
            _copy_beside(model, context.output)
    adapters = select_adapters([part for _, part in parts], inputs, context.output)
    source = OnnxModel(first.path, {key: v for key, v in first.attributes.items() if key not in _OF_A_PART})
    result = finish(context, source, {"file": _FILE} | ({"adapters": adapters} if adapters else {}))
    written = [path for _, path in paths]
    verified = verify_chains(first, written, [context.output / _FILE], config, context)
    return replace(result, attributes={**result.attributes, "verified": verified}) if verified else result


def _outputs_of_the_whole(model: OnnxModel | CompositeModel) -> list[str]:
    """What a model gave before it was cut into parts, some of which read it as well."""
    return list(model.attributes.get("outputs") or ()) if isinstance(model, CompositeModel) else []


def _check_kept(names: list[str], there: list[str]) -> None:
    if absent := [name for name in names if name not in there]:
        raise PassError(f"no model has an output {absent[0]!r} to keep", f"There are: {', '.join(there)}.")


def _parts(model: OnnxModel | CompositeModel) -> list[tuple[str, OnnxModel]]:
    if isinstance(model, OnnxModel):
        return [("", model)]
    found = []
    for part in model.attributes["components"]:
        if part["kind"] != OnnxModel.kind:
            raise PassError(f"the part {part['name']!r} is {part['kind']}, not onnx_model")
        found.append((str(part["name"]), OnnxModel(model.path / part["path"], part["attributes"])))
    return found


def _copy_beside(model: CompositeModel, output: Path) -> None:
    folders = [model.path / part["path"] for part in model.attributes["components"]]
    for file in sorted(model.path.rglob("*")):
        target = output / file.relative_to(model.path)
        if file.is_file() and not any(file.is_relative_to(folder) for folder in folders) and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            clone(file, target)


def join(graphs: list[tuple[str, ir.Model]], keep: Collection[str] = ()) -> tuple[ir.Model, list[str]]:
    """One model of several; an input takes the output of the same name of a model before, or is shared.

    Outputs that a later model reads are none of the whole's, unless they are to be kept: these come back by name.
    """
    inputs: dict[str, ir.Value] = {}
    outputs: dict[str, ir.Value] = {}
    # Names of inputs and outputs stay, so no value inside of another part may have one.
    taken = {str(value.name) for _, model in graphs for value in (*model.graph.inputs, *model.graph.outputs)}
    nodes: list[ir.Node] = []
    weights: list[ir.Value] = []
    opsets: dict[str, int] = {}
    functions: list[ir.Function] = []
    for index, (name, model) in enumerate(graphs):
        graph = model.graph
        _agree(opsets, model, name)
        functions += list(model.functions.values())
        ins, outs = list(graph.inputs), list(graph.outputs)
        for value in ins:
            source = outputs.get(str(value.name)) or inputs.get(str(value.name))
            if source is None:
                inputs[str(value.name)] = value
                continue
            _check_types(source, value)
            ir.convenience.replace_all_uses_with(value, source, replace_graph_outputs=True)
            outs = [source if out is value else out for out in outs]
        fixed = set(ins) | set(outs)
        prefix = f"{name or f'part{index}'}_"
        inner = [v for node in graph.all_nodes() for v in node.outputs] + list(graph.initializers.values())
        for value in inner:
            if value not in fixed and value.name in taken:
                value.name = prefix + str(value.name)
        taken |= {str(value.name) for value in inner}
        for out in outs:
            if str(out.name) in outputs and outputs[str(out.name)] is not out:
                raise PassError(f"two of the models have an output called {out.name!r}", "Rename one: GraphSurgeries.")
            outputs[str(out.name)] = out
        weights += list(graph.initializers.values())
        moved = list(graph)
        graph.outputs.clear()
        graph.inputs.clear()
        graph.initializers.clear()
        graph.remove(moved)
        nodes += moved
    final = [value for value in outputs.values() if not value.uses() or value.name in keep] or list(outputs.values())
    whole = ir.Graph(
        list(inputs.values()),
        final,
        nodes=nodes,
        initializers=weights,
        opset_imports=opsets,
        name="composed",
    )
    version = max(model.ir_version or 8 for _, model in graphs)
    dropped = [name for name, value in outputs.items() if value not in final]
    return ir.Model(whole, ir_version=version, functions=functions), dropped


def _agree(opsets: dict[str, int], model: ir.Model, name: str) -> None:
    for domain, version in model.opset_imports.items():
        if opsets.setdefault(domain, version) != version:
            raise PassError(
                f"{name or 'one model'} has opset {version} of {domain or 'ai.onnx'}, another has {opsets[domain]}",
                "Put OnnxOpVersionConversion before this pass, for all of them.",
            )


def _check_types(source: ir.Value, value: ir.Value) -> None:
    if source.dtype is not None and value.dtype is not None and source.dtype != value.dtype:
        raise PassError(
            f"{value.name!r} is {source.dtype.name.lower()} where it is made and {value.dtype.name.lower()} where it "
            "is read",
            "Put OnnxIODataTypeConverter before this pass.",
        )
