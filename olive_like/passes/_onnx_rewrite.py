"""The course of every pass from ONNX to ONNX: open, change, write, copy what stands beside, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_check import data_files
from olive_like.passes._onnx_files import (
    components,
    copy_side_files,
    finish,
    graph_file,
    load_ir,
    load_proto,
    save_ir,
)
from olive_like.passes._verify import verify_models
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig

EXACT = 1e-4  # what float32 may differ by when sums are done in another order
COMPARE_UP_TO = 700 << 20  # bytes; a comparison holds the whole model in memory
HEADER_COMPARE_UP_TO = 64 << 20  # where the pass itself takes no time, the comparison should not either


def rewrite(
    model: OnnxModel,
    config: OnnxPassConfig,
    context: Context,
    change: Callable[[ir.Model], int],
    *,
    tolerance: float = EXACT,
    compare_up_to: int = COMPARE_UP_TO,
    comparable: bool = True,
    attributes: Mapping[str, Any] | None = None,
) -> OnnxModel:
    """Change every graph of a model; `change` returns how many changes it made."""
    changes = 0
    for path in components(model).values():
        graph = load_ir(path)
        changes += change(graph)
        save_ir(graph, target_of(model, path, context), config)
    context.metric("changes", changes)
    if not changes:
        context.warn("the graph did not change: there was nothing in it for this pass")
    return prove(model, config, context, tolerance, compare_up_to, comparable, attributes)


def prove_header(tolerance: float = EXACT) -> dict[str, Any]:
    """How to prove a pass that leaves the weights alone: by running only where that is quick."""
    return {"tolerance": tolerance, "compare_up_to": HEADER_COMPARE_UP_TO}


def like_input(config: OnnxPassConfig, path: Path) -> OnnxPassConfig:
    """Settings with which new weights go where the input has its own: beside the graph, or into it."""
    if config.save_as_external_data is not None:
        return config
    return config.model_copy(update={"save_as_external_data": bool(data_files(load_proto(path)))})


def target_of(model: OnnxModel, path: Path, context: Context) -> Path:
    """Where a graph of the input goes in the output."""
    root = model.path.parent if model.path.is_file() else model.path
    target = context.output / path.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def prove(
    model: OnnxModel,
    config: OnnxPassConfig,
    context: Context,
    tolerance: float,
    compare_up_to: int = COMPARE_UP_TO,
    comparable: bool = True,
    attributes: Mapping[str, Any] | None = None,
) -> OnnxModel:
    """Copy what stands beside the written graphs, check them, and compare outputs before and after."""
    copy_side_files(model, context.output)
    result = finish(context, model, {"file": graph_file(model).name, **(attributes or {})})
    if not comparable:
        return result  # its inputs or outputs are other than before
    size = model_bytes(model)
    if config.verify == "warn" and size > compare_up_to:
        context.note(
            f"outputs were not compared: the model has {size:,} bytes, and to run it twice takes its time and "
            "memory; `verify: fail` compares at any size"
        )
        return result
    verified = verify_models(model, result, config.verify, config.verify_tolerance or tolerance, context)
    return replace(result, attributes={**result.attributes, "verified": verified}) if verified else result


def model_bytes(model: OnnxModel) -> int:
    """Bytes of a model's folder, or of its one file."""
    if model.path.is_file():
        return model.path.stat().st_size
    return sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())
