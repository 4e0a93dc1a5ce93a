"""float8 weights with a scale per square block: transformers' `fp8` format, written layer by layer."""

from __future__ import annotations

import math
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._checkpoint import ShardWriter, copy_side_files
from olive_like.passes.quantize._grid import Spec
from olive_like.passes.quantize._output import LayerError, Report, write_config
from olive_like.passes.quantize._skeleton import (
    Skeleton,
    Target,
    check_names,
    choose,
    finite,
    linear_names,
    load_skeleton,
    matches,
)

_LARGEST = torch.finfo(torch.float8_e4m3fn).max
_LEAST = 16


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "Quantise the original model, with full weights.")
    exclude = list(config.modules_to_not_convert or [])
    check_names("modules_to_not_convert", exclude, skeleton)
    targets = [
        target
        for target in choose(
            skeleton,
            spec=lambda _, inputs: Spec(8, inputs, True),
            lm_head=False,
            exclude=lambda name: any(matches(entry, name) for entry in exclude),
        )
        if not target.transposed
    ]
    if not targets:
        raise PassError("no layer is left to quantise", "Look at `modules_to_not_convert`.")
    block = _block(targets, config.block_size, context)
    report = Report("fp8")
    scales = 0
    with torch.inference_mode():
        scales = _write(skeleton, targets, block, report, context)
    chosen = {target.module for target in targets}
    left = [name for name in linear_names(skeleton) if name not in chosen]
    settings = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [block, block],
        "modules_to_not_convert": left,
    }
    write_config(context.output, model.path, {"quantization_config": settings})
    copy_side_files(model.path, context.output)
    weights = sum(target.outputs * target.inputs for target in targets)
    report.write(model, context.output, context, 8 * weights + 32 * scales)
    return HfModel(context.output, model.attributes)


def _block(targets: list[Target], wanted: int, context: Context) -> int:
    """The edge of the blocks: what was asked for, or the power of two below it that divides every layer."""
    common = math.gcd(*(size for target in targets for size in (target.outputs, target.inputs)))
    if common % wanted == 0:
        return wanted
    power = common & -common
    if power < _LEAST:
        raise PassError(
            f"the layers' sizes have no common block of {_LEAST} or more",
            "Exclude the odd ones with `modules_to_not_convert`.",
        )
    block = min(power, wanted)
    context.note(f"blocks of {wanted} do not divide every layer: blocks of {block} are used")
    return block


def _write(skeleton: Skeleton, targets: list[Target], block: int, report: Report, context: Context) -> int:
    checkpoint = skeleton.checkpoint
    names = {f"{target.tensor}.weight" for target in targets}
    forms = [
        (name, torch.float8_e4m3fn if name in names else entry.dtype, entry.shape)
        for name, entry in checkpoint.entries.items()
    ]
    grids = [(f"{t.tensor}.weight_scale_inv", torch.float32, (t.outputs // block, t.inputs // block)) for t in targets]
    writer = ShardWriter(context.output / "model.safetensors", forms + grids)
    for step, target in enumerate(targets):
        name = f"{target.tensor}.weight"
        weight = finite(checkpoint.read(name).float(), target.module)
        tiles = weight.view(target.outputs // block, block, target.inputs // block, block)
        scale = (tiles.abs().amax((1, 3), keepdim=True) / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
        rounded = (tiles / scale).to(torch.float8_e4m3fn)
        writer.write(name, rounded.view(weight.shape))
        writer.write(f"{target.tensor}.weight_scale_inv", scale[:, 0, :, 0])
        error = LayerError()
        error.add(weight, (rounded.float() * scale).view(weight.shape))
        report.add(target, error.to_json())
        context.progress(step + 1, len(targets))
    for name in checkpoint.entries:
        if name not in names:
            writer.write_raw(name, checkpoint.raw(name))
    writer.close()
    return sum(math.prod(shape) for _, _, shape in grids)
