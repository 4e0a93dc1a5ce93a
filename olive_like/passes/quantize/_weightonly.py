"""Quantisers that need no data: they go through the file layer by layer, and the model is never built."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize import _grid
from olive_like.passes.quantize._checkpoint import Checkpoint, ShardWriter, copy_side_files
from olive_like.passes.quantize._outline import outline
from olive_like.passes.quantize._output import (
    Report,
    layout,
    quantization_config,
    stored_bits,
    write_config,
)
from olive_like.passes.quantize._request import Request, read_request
from olive_like.passes.quantize._skeleton import Skeleton, Target, load_skeleton
from olive_like.passes.quantize._tiles import RoundTile, fitted, nearest, round_layers


def run(model: HfModel, config: Any, context: Context, method: str) -> HfModel:
    ways: dict[str, RoundTile] = {
        "rtn": nearest,
        "kquant": fitted(_grid.kquant),
        "hqq": fitted(lambda w, s: _grid.hqq(w, s, config.iterations, config.lp_norm)),
    }
    torch.set_num_threads(context.threads)
    skeleton = outline(model.path) or load_skeleton(model.path)
    request = read_request(model, config, skeleton, context, adds=True)
    modules = {target.module for target in request.targets}
    if skeleton.tied and skeleton.embedding in modules and skeleton.head not in modules:
        context.note("the output head is the embedding's matrix, so it is quantised with it")
    with torch.inference_mode():
        report = _write(model, skeleton, request, ways[method], method, context)
    write_config(context.output, model.path, _config_changes(skeleton, request, method))
    copy_side_files(model.path, context.output)
    report.write(model, context.output, context, stored_bits(_stored_once(skeleton, request.targets)))
    return HfModel(context.output, request.attributes)


def _stored_once(skeleton: Skeleton, targets: list[Target]) -> list[Target]:
    """The targets without the embedding, if it is the head's matrix on the same grid: that is kept once."""
    by_name = {target.module: target for target in targets}
    head, embedding = by_name.get(skeleton.head or ""), by_name.get(skeleton.embedding or "")
    if skeleton.tied and head and embedding and head.tensor == embedding.tensor and head.spec == embedding.spec:
        return [target for target in targets if target is not embedding]
    return targets


def _config_changes(skeleton: Skeleton, request: Request, method: str) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "quantization_config": quantization_config(
            request.default, request.group_size, request.targets, skeleton, method
        )
    }
    written = _stored_once(skeleton, request.targets)
    head_alone = any(t.module == skeleton.head for t in request.targets) and len(written) == len(request.targets)
    if skeleton.tied and head_alone:
        changes["tie_word_embeddings"] = False  # from here on they are two matrices
    return changes


def _write(
    model: HfModel, skeleton: Skeleton, request: Request, way: RoundTile, method: str, context: Context
) -> Report:
    checkpoint = skeleton.checkpoint
    written = _stored_once(skeleton, request.targets)
    names = {target.module: _output_name(skeleton, target) for target in written}
    replaced = {f"{target.tensor}.weight" for target in request.targets}
    if skeleton.tied and not any(target.embedding for target in request.targets) and skeleton.embedding:
        stored = skeleton.stored(skeleton.embedding)
        replaced.discard(f"{stored}.weight")  # a tied head is rounded, the embedding stays
    kept = [entry for name, entry in checkpoint.entries.items() if name not in replaced]
    writer = ShardWriter(
        context.output / "model.safetensors",
        [(entry.name, entry.dtype, entry.shape) for entry in kept]
        + [(f"{names[target.module]}.{part}", *form) for target in written for part, form in layout(target).items()],
    )
    report = Report(method)
    with ThreadPoolExecutor(1) as copying:
        copied = copying.submit(_copy, checkpoint, [entry.name for entry in kept], writer)
        for step, (target, parts, error) in enumerate(round_layers(checkpoint, written, way, context.threads)):
            for part, tensor in parts.items():
                writer.write(f"{names[target.module]}.{part}", tensor)
            measured = error.to_json()
            report.add(target, measured)
            context.progress(step + 1, len(written), relative_error=measured["relative_error"])
        copied.result()
    writer.close()
    return report


def _copy(checkpoint: Checkpoint, names: list[str], writer: ShardWriter) -> None:
    for name in names:
        writer.write_raw(name, checkpoint.raw(name))


def _output_name(skeleton: Skeleton, target: Target) -> str:
    """Where a layer is stored: as before, but a head that was only a view of the embedding gets its own place."""
    return target.module if target.module == skeleton.head else target.tensor
