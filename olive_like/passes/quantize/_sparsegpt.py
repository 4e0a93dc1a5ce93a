"""The SparseGPT pass: zeros block by block, each layer against the second moments of its inputs."""

from __future__ import annotations

from typing import Any

from torch import nn

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._blockwork import moments_of, result, store_as_written
from olive_like.passes.quantize._dense import change_blocks, dense_skeleton
from olive_like.passes.quantize._gptq import measure, set_weight, weight_of
from olive_like.passes.quantize._gptq_solve import inverse_factor
from olive_like.passes.quantize._grid import Spec
from olive_like.passes.quantize._skeleton import Skeleton, Target, choose, note_fused
from olive_like.passes.quantize._sparse_solve import Pattern, prune
from olive_like.passes.quantize._stream import BlockResult, Blocks


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    skeleton = dense_skeleton(model, context)
    pattern = Pattern.of(config.sparsity)
    targets = chosen(skeleton, config)
    note_fused(skeleton, context.note)
    for inputs in sorted({t.inputs for t in targets if t.inputs % pattern.period}):
        rest = inputs % pattern.period
        context.note(f"{pattern.period} does not divide {inputs} inputs: the last {rest} stay in such layers")
    return change_blocks(model, skeleton, _Work(skeleton, targets, pattern, config), context, "prune.json")


def chosen(skeleton: Skeleton, config: Any) -> list[Target]:
    """The layers inside of blocks that the settings leave."""
    name, blocks = skeleton.blocks()
    layers = choose(skeleton, spec=lambda _, inputs: Spec(8, inputs, False), lm_head=False)
    first, last = config.min_layer or 0, len(blocks) if config.max_layer is None else config.max_layer
    allowed = tuple(f"{name}.{index}." for index in range(first, min(last, len(blocks))))
    parts = config.layer_name_filter
    parts = [parts] if isinstance(parts, str) else parts
    for part in parts or []:
        if not any(part in layer.module for layer in layers):
            raise PassError(
                f"layer_name_filter has {part!r}, which is in no layer's name", f"One is called {layers[0].module}."
            )
    found = [t for t in layers if t.module.startswith(allowed) and (not parts or any(p in t.module for p in parts))]
    if not found:
        raise PassError(
            f"no layer is left to prune: the model has {len(blocks)} blocks",
            "Look at `min_layer`, `max_layer` and `layer_name_filter`.",
        )
    return found


class _Work:
    """SparseGPT on one block."""

    def __init__(self, skeleton: Skeleton, targets: list[Target], pattern: Pattern, config: Any) -> None:
        self.skeleton = skeleton
        self.names = {target.module for target in targets}
        self.pattern = pattern
        self.config = config

    def __call__(self, blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        prefix = f"{blocks.name}.{index}."
        mine = [n.removeprefix(prefix) for n in sorted(self.names) if n.startswith(prefix)]
        report = {}
        for group, curvature in moments_of(blocks, block, index, mine):
            factor = inverse_factor(curvature, self.config.percdamp, 0.01, prefix + group[0])
            for name in group:
                module = block.get_submodule(name)
                weight = weight_of(module).clone()
                pruned = prune(weight, factor, self.pattern, self.config.blocksize)
                zeros = float((pruned == 0).float().mean())
                report[prefix + name] = {"sparsity": round(zeros, 6), **measure(weight, pruned, curvature)}
                set_weight(module, pruned)
        store_as_written(block, self.skeleton, blocks, index, set(mine))
        return BlockResult(result(blocks, block, index, self.skeleton, {}, set(mine)).tensors, report)
