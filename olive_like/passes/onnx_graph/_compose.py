"""Several graphs put together into one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import clone, components, copy_side_files, finish, load_ir, save_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._chain import verify_chains

_FILE = "model.onnx"


def compose(models: list[Any], config: Any, context: Context) -> OnnxModel:
    """Chain all parts of all inputs, in their order."""
    parts = [part for model in models for part in _parts(model)]
    paths = [(name, path) for name, part in parts for path in components(part).values()]
    if len(paths) < 2:
        raise PassError("there is one model only, and nothing to compose it with", "Give the pass several inputs.")
    joined = join([(name, load_ir(path)) for name, path in paths])
    save_ir(joined, context.output / _FILE, config)
    first = parts[0][1]
    copy_side_files(first, context.output)
    for model in models:
        if isinstance(model, CompositeModel):
            _copy_beside(model, context.output)
    source = OnnxModel(first.path, {key: v for key, v in first.attributes.items() if key not in ("components", "io")})
    result = finish(context, source, {"file": _FILE})
    written = [path for _, path in paths]
    verified = verify_chains(first, written, [context.output / _FILE], config, context)
    return replace(result, attributes={**result.attributes, "verified": verified}) if verified else result


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


def join(graphs: list[tuple[str, ir.Model]]) -> ir.Model:
    """One model of several; an input takes the output of the same name of a model before, or is shared."""
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
    final = [value for value in outputs.values() if not value.uses()] or list(outputs.values())
    whole = ir.Graph(
        list(inputs.values()),
        final,
        nodes=nodes,
        initializers=weights,
        opset_imports=opsets,
        name="composed",
    )
    return ir.Model(whole, ir_version=max(model.ir_version or 8 for _, model in graphs), functions=functions)


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
