"""The last step of a calibrated quantiser: shards, rest of the model, config and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize._checkpoint import ShardWriter, copy_side_files, write_index
from olive_like.passes.quantize._grid import Quantized
from olive_like.passes.quantize._journal import copy_shards
from olive_like.passes.quantize._output import (
    Report,
    packed,
    quantization_config,
    stored_bits,
    write_config,
)
from olive_like.passes.quantize._request import Request
from olive_like.passes.quantize._skeleton import Skeleton

Extra = dict[str, tuple[Quantized, dict[str, float]]]


def finish(
    model: HfModel,
    skeleton: Skeleton,
    request: Request,
    shards: list[tuple[Path, dict[str, Any]]],
    extra: Extra,
    method: str,
    context: Context,
    desc_act: bool = False,
) -> HfModel:
    """Put the artifact together in the output folder."""
    untied = bool(extra) and skeleton.tied
    write_rest(skeleton, shards, extra, context.output, keep_tied=untied)
    changes: dict[str, Any] = {
        "quantization_config": quantization_config(
            request.default, request.group_size, request.targets, skeleton, method, desc_act
        )
    }
    if untied:
        changes["tie_word_embeddings"] = False
    write_config(context.output, model.path, changes)
    copy_side_files(model.path, context.output)
    report = Report(method)
    by_name = {target.module: target for target in request.targets}
    errors = {name: error for _, part in shards for name, error in part.items()}
    errors |= {name: error for name, (_, error) in extra.items()}
    for name, error in errors.items():
        report.add(by_name[name], error)
    report.write(model, context.output, context, stored_bits(request.targets))
    return HfModel(context.output, request.attributes)


def write_rest(
    skeleton: Skeleton,
    shards: list[tuple[Path, dict[str, Any]]],
    extra: Extra,
    output: Path,
    changed: dict[str, torch.Tensor] | None = None,
    keep_tied: bool = False,
) -> None:
    """Copy the finished blocks, and write the rest of the model as one more shard."""
    changed = changed or {}
    total = len(shards) + 1
    names = copy_shards(shards, output)
    inside = {name for shard in names.values() for name in shard}
    inside |= {f"{name.rpartition('.')[0]}.weight" for name in inside if name.endswith(".qweight")}
    replaced = set() if keep_tied else {f"{skeleton.stored(name)}.weight" for name in extra}
    kept = [
        entry
        for name, entry in skeleton.checkpoint.entries.items()
        if name not in inside and name not in replaced and name not in changed
    ]
    file = f"model-{total:05d}-of-{total:05d}.safetensors"
    forms = [
        (f"{name}.{part}", t.dtype, tuple(t.shape))
        for name, (layer, _) in extra.items()
        for part, t in packed(layer).items()
    ]
    writer = ShardWriter(
        output / file,
        [(entry.name, entry.dtype, entry.shape) for entry in kept]
        + [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in changed.items()]
        + forms,
    )
    for entry in kept:
        writer.write_raw(entry.name, skeleton.checkpoint.raw(entry.name))
    for name, tensor in changed.items():
        writer.write(name, tensor)
    for name, (layer, _) in extra.items():
        for part, tensor in packed(layer).items():
            writer.write(f"{name}.{part}", tensor)
    names[file] = list(writer.names)
    writer.close()
    size = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    write_index(output, dict(names), size)
