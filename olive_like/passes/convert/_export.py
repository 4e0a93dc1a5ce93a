"""One part to one ONNX model in memory, by torch.export or by TorchScript."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch.onnx import OnnxExporterError

from olive_like.errors import PassError
from olive_like.passes._onnx_files import load_ir
from olive_like.passes._quiet import errors_only
from olive_like.passes._simplify import simplify
from olive_like.passes.base import Context
from olive_like.passes.convert._naming import name_nodes
from olive_like.passes.convert._parts import Part

_SCRIPT_NEWEST, _DYNAMO_OLDEST = 20, 18
_GROUPED = "TRANSFORMERS_SDPA_FORCE_GQA"  # how transformers is told


def export(part: Part, opset: int, dynamo: bool | None, optimize: bool, context: Context) -> ir.Model:
    """The graph, by the exporter that is asked for or that suits; weights still belong to PyTorch."""
    first = _exporter(part, opset, dynamo, context)
    try:
        return _by_dynamo(part, opset, optimize) if first else _by_script(part, opset, optimize, context)
    except PassError as error:
        other = not first
        possible = opset >= _DYNAMO_OLDEST if other else opset <= _SCRIPT_NEWEST
        if dynamo is not None or not possible:
            raise
        try:
            made = _by_dynamo(part, opset, optimize) if other else _by_script(part, opset, optimize, context)
        except PassError:
            raise error from None
        context.note(f"exported with {_called(other)}, because {_called(first)} said: {error.message}")
        return made


def _called(dynamo: bool) -> str:
    return "torch.export" if dynamo else "TorchScript"


def _exporter(part: Part, opset: int, dynamo: bool | None, context: Context) -> bool:
    if dynamo and opset < _DYNAMO_OLDEST:
        context.warn(f"torch.export writes opset {_DYNAMO_OLDEST} and newer: target_opset {opset} was raised to that")
    if dynamo is not None:
        return dynamo
    return opset > _SCRIPT_NEWEST or (part.dynamo and opset >= _DYNAMO_OLDEST)


def _by_dynamo(part: Part, opset: int, optimize: bool) -> ir.Model:
    shapes = [part.axes.get(name, {}) for name in part.example] if part.axes else None
    try:
        with _quiet(), _heads_unrepeated():
            program = torch.onnx.export(
                part.module,
                (list(part.example.values()),),
                dynamo=True,
                opset_version=max(opset, _DYNAMO_OLDEST),
                input_names=list(part.example),
                output_names=part.outputs,
                dynamic_shapes=(shapes,) if shapes else None,
                optimize=False,  # done below, by a road that takes seconds
                verbose=False,
            )
    except (OnnxExporterError, RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        raise _cannot(error, part) from error
    assert program is not None
    model = program.model
    _list_axes(model.graph)
    if optimize:
        simplify(model)
    name_nodes(model)
    ClearMetadataAndDocStringPass()(model)
    _name_axes(model, part)
    return model


def _by_script(part: Part, opset: int, optimize: bool, context: Context) -> ir.Model:
    path = _empty_folder(context.scratch / f"torchscript-{part.name}") / part.file
    try:
        with _quiet():
            torch.onnx.export(
                part.module,
                (list(part.example.values()),),
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=list(part.example),
                output_names=part.outputs,
                dynamic_axes=part.axes or None,
                do_constant_folding=optimize,
            )
    except (OnnxExporterError, RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        raise _cannot(error, part) from error
    model = load_ir(path)
    name_nodes(model)
    ClearMetadataAndDocStringPass()(model)
    return model


def _empty_folder(path: Path) -> Path:
    """Where the exporter puts a graph, with each weight in a file of its own if it is over 2 GB."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _list_axes(graph: ir.Graph) -> None:
    """Give Unsqueeze its axes as a list, as the standard wants it: the exporter writes a number at times."""
    lists: dict[ir.Value, ir.Value] = {}
    for node in graph:
        axes = node.inputs[1] if node.op_type == "Unsqueeze" and len(node.inputs) > 1 else None
        number = ir.convenience.get_const_tensor(axes) if axes is not None else None
        if axes is None or number is None or len(number.shape):
            continue
        if axes not in lists:
            tensor = ir.tensor(number.numpy().reshape(1), name=f"{axes.name}_list")
            lists[axes] = ir.Value(
                name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            graph.register_initializer(lists[axes])
        node.replace_input_with(1, lists[axes])


def _name_axes(model: ir.Model, part: Part) -> None:
    """Give open axes the names of the part: the exporter writes sums such as `s1 + s2` where it finds them."""
    for value in [*model.graph.inputs, *model.graph.outputs]:
        wanted = part.axes.get(value.name or "", {})
        if value.shape is None:
            continue
        for axis, name in wanted.items():
            if not isinstance(value.shape[axis], int):
                value.shape[axis] = ir.SymbolicDim(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' chatter; what matters comes as an exception."""
    with errors_only("torch.onnx", "torch.export", "onnxscript"), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _heads_unrepeated() -> Iterator[None]:
    """Attention with fewer heads of keys than of queries as one operator, which the exporter knows.

    To trace how transformers repeats the heads takes a fifth of an export's time.
    """
    before = os.environ.get(_GROUPED)
    os.environ[_GROUPED] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_GROUPED]
        else:
            os.environ[_GROUPED] = before


_NO_OP = re.compile(r"No ONNX function found for .*?'([\w:.]+)'|operator '?([\w:]+)'?.{0,40}not supported", re.S)


def _cannot(error: BaseException, part: Part) -> PassError:
    """One line that names the op or the module at fault, and what to try."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = "\n".join(str(item) for item in chain)
    found = _NO_OP.search(text)
    if found:
        op = next(filter(None, found.groups()))
        newer = re.search(r"added in version (\d+)|opset version (\d+) or (?:above|newer)", text)
        hint = f"Set `target_opset: {next(filter(None, newer.groups()))}`." if newer else _TRY
        return PassError(f"the op {op} of {_owner(text, part)} cannot be exported", hint)
    cause = str(chain[-1]).strip().splitlines() or [type(chain[-1]).__name__]
    return PassError(f"{_owner(text, part)} cannot be exported: {cause[0][:300]}", _TRY)


_TRY = (
    "Try the other exporter (`use_dynamo_exporter`), another `target_opset`, `load_kwargs: {attn_implementation: "
    "eager}`, or the pass ModelBuilder for a language model."
)


def _owner(text: str, part: Part) -> str:
    """The innermost module that the exporter's report names, else the part."""
    paths = re.findall(r"L\['self'\]\.([\w.]+)|inner\.([\w.]+)", text)
    named = [a or b for a, b in paths]
    return f"the module {named[-1]}" if named else f"the graph {part.name!r} ({type(part.module).__name__})"
