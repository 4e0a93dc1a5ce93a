"""The SliceGPT pass: the residual stream in the coordinates of its principal components, the small ones cut off.

The blocks share one set of components, so that no matrix is needed between them and the result is an ordinary model.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._dense import dense_skeleton
from olive_like.passes.quantize._family import norm_offset
from olive_like.passes.quantize._gptq_solve import Curvature
from olive_like.passes.quantize._rotate import Plan, plan_rotation, write_rotated
from olive_like.passes.quantize._skeleton import Skeleton, load_skeleton
from olive_like.passes.quantize._stream import Blocks


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    skeleton = dense_skeleton(model, context)
    plan = plan_rotation(skeleton, "SliceGPT")
    if skeleton.config.get_text_config(decoder=True) is not skeleton.config:
        raise PassError(f"SliceGPT takes models of text alone, not {type(skeleton.model).__name__}")
    if norm_offset(skeleton.model.get_submodule(plan.final_norm)):
        raise PassError("SliceGPT does not take Gemma: it multiplies its embeddings by a number made from the width")
    kept = width_left(plan, config.sparsity, config.round_interval, context)
    tokens = calibration_tokens(model, context, "calibration_data_config")
    if len(tokens) > config.calibration_nsamples:
        draw = torch.Generator().manual_seed(config.seed)
        tokens = tokens[torch.randperm(len(tokens), generator=draw)[: config.calibration_nsamples]]
    with torch.inference_mode():
        moments = stream_moments(Blocks(skeleton, tokens, context.device), plan, context)
        values, directions = torch.linalg.eigh(moments.double().cpu())
        main = directions.flip(1)[:, :kept].contiguous()
        context.metric("variance_kept", float(values.flip(0)[:kept].sum() / values.sum()))
        heads = [torch.eye(plan.family.head_dim, dtype=torch.float64)] * plan.layers
        write_rotated(model, skeleton, plan, main, heads, context, _config(skeleton, plan, kept))
    _check(context)
    return HfModel(context.output, model.attributes)


def width_left(plan: Plan, sparsity: float, interval: int, context: Context) -> int:
    """How many directions stay."""
    step = math.lcm(interval, plan.family.heads)
    kept = int(plan.width * (1 - sparsity) + 1e-6) // step * step  # 1 - 0.9 is less than a tenth
    if sparsity == 0:
        kept = plan.width
    if kept == 0:
        raise PassError(
            f"sparsity {sparsity} leaves less than {step} of {plan.width} directions",
            "The width has to be a multiple of `round_interval` and of the number of heads.",
        )
    context.note(f"the residual stream has {kept} of its {plan.width} dimensions left")
    return kept


def stream_moments(blocks: Blocks, plan: Plan, context: Context) -> torch.Tensor:
    """Second moments of what the blocks' norms give out, without their gains: the mean over all of them."""
    moments = Curvature(plan.width, blocks.device)
    scaled = torch.nn.functional.rms_norm
    blocks.start()
    for index in range(len(blocks)):
        block = blocks.load(index)
        for name in (plan.family.attention_norm, plan.family.mlp_norm):
            block.get_submodule(name).register_forward_pre_hook(
                lambda _, args: moments.add(scaled(args[0].float(), args[0].shape[-1:]).flatten(0, -2))
            )
        blocks.run(block, index)
        context.progress(index + 1, len(blocks))
    for state in blocks.hidden.split(blocks.batch):
        moments.add(scaled(state, state.shape[-1:]).flatten(0, -2))
    return moments.mean()


def _config(skeleton: Skeleton, plan: Plan, kept: int) -> dict[str, Any]:
    """What of the model's config the width is part of."""
    changes: dict[str, Any] = {"hidden_size": kept, "head_dim": plan.family.head_dim}
    eps = getattr(skeleton.config, "rms_norm_eps", None)
    if eps is not None:
        changes["rms_norm_eps"] = eps * plan.width / kept
    return changes


def _check(context: Context) -> None:
    """That transformers builds the model in the shapes that were written."""
    made = load_skeleton(context.output)
    for name, parameter in made.model.named_parameters():
        stored = made.stored(*name.rsplit(".", 1))
        if stored and made.checkpoint.entries[f"{stored}.{name.rsplit('.', 1)[1]}"].shape != tuple(parameter.shape):
            raise PassError(
                f"{type(made.model).__name__} cannot be built with a width of its own for its heads: {name} would be "
                f"{tuple(parameter.shape)}",
                "Its config has no `head_dim`. SparseGPT takes it.",
            )
