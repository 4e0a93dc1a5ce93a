"""Calibrated passes after which weights are still ordinary matrices: how they begin and how they end."""

from __future__ import annotations

import json

import torch

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._checkpoint import copy_side_files
from olive_like.passes.quantize._finish import write_rest
from olive_like.passes.quantize._output import write_config
from olive_like.passes.quantize._skeleton import Skeleton, load_skeleton
from olive_like.passes.quantize._stream import Blocks, BlockWork, go_through


def dense_skeleton(model: HfModel, context: Context) -> Skeleton:
    """The shape of a model whose weights must be there in full."""
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "This pass comes before a quantiser.")
    return skeleton


def change_blocks(
    model: HfModel, skeleton: Skeleton, work: BlockWork, context: Context, report: str | None = None
) -> HfModel:
    """Do the work on every block and write the folder; means over the layers' reports become metrics.

    `report`: the file that the layers' reports themselves go into.
    """
    tokens = calibration_tokens(model, context)
    with torch.inference_mode():
        shards = go_through(Blocks(skeleton, tokens, context.device), work, context)
    write_rest(skeleton, shards, {}, context.output)
    write_config(context.output, model.path, {})
    copy_side_files(model.path, context.output)
    layers = {name: layer for _, part in shards for name, layer in part.items()}
    if report is not None:
        (context.output / report).write_text(json.dumps({"layers": layers}, indent=2) + "\n")
    for name in sorted({key for layer in layers.values() for key in layer}):
        values = [layer[name] for layer in layers.values() if name in layer]
        context.metric(name, sum(values) / len(values))
    return HfModel(context.output, model.attributes)
