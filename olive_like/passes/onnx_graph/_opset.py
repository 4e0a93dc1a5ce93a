"""Conversion to another version of the operator set."""

from __future__ import annotations

import logging
from typing import Any

import onnx
import onnx_ir as ir
from onnxscript import version_converter

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_rewrite import rewrite
from olive_like.passes.base import Context

_NEEDS_IR = 10  # opset 21 and later
_log = logging.getLogger("onnxscript.version_converter")


def convert(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The pass of its own."""
    newest = onnx.defs.onnx_opset_version()
    if config.target_opset > newest:
        raise PassError(
            f"opset {config.target_opset} is not known here", f"The newest that this onnx knows is {newest}."
        )

    def change(graph: ir.Model) -> int:
        before = graph.opset_imports.get("", 0)
        convert_opset(graph, config.target_opset)
        context.note(f"opset {before} -> {config.target_opset}")
        return int(before != config.target_opset)

    return rewrite(model, config, context, change)


def convert_opset(graph: ir.Model, target: int) -> None:
    """Bring a model to an opset, in place; its large weights stay where they are."""
    version = graph.opset_imports.get("", graph.graph.opset_imports.get("", 0))
    if version == target:
        return
    _log.addFilter(_silent)  # it logs the same failure that is raised below, with a traceback
    try:
        version_converter.convert_version(graph, target_version=target, fallback=True)
    except (version_converter._version_converter.VersionConverterError, ValueError) as error:
        raise _impossible(version, target, str(error).splitlines()[0]) from error
    finally:
        _log.removeFilter(_silent)
    if graph.opset_imports.get("", 0) != target:
        raise _impossible(version, target, "an operator has no adapter")
    if target >= 21 and (graph.ir_version or 0) < _NEEDS_IR:
        graph.ir_version = _NEEDS_IR


def _silent(_: logging.LogRecord) -> bool:
    return False


def _impossible(version: int, target: int, why: str) -> PassError:
    return PassError(
        f"the model cannot be converted from opset {version} to {target}: {why}",
        f"Export it with `target_opset: {target}`.",
    )
