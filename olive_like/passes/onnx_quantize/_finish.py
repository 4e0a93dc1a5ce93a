"""The common end of every quantising pass: side files, the report, and the proof on outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import copy_side_files, finish, graph_file
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_quantize._report import WeightError, record


def target_of(model: OnnxModel, path: Path, context: Context) -> Path:
    """Where a graph of the input goes in the output."""
    root = model.path.parent if model.path.is_file() else model.path
    target = context.output / path.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def complete(
    model: OnnxModel,
    config: OnnxPassConfig,
    context: Context,
    errors: list[WeightError],
    precision: str,
    **more: Any,
) -> OnnxModel:
    """The finished artifact, with its report."""
    copy_side_files(model, context.output)
    attributes = {"precision": precision, "file": graph_file(model).name}
    result = finish(context, model, attributes)
    record(context, model, errors, precision=precision, **more)
    return result
