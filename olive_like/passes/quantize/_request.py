"""What the settings and what earlier passes said come to: which layers are rounded, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._grid import Spec
from olive_like.passes.quantize._skeleton import (
    Skeleton,
    Target,
    check_group_sizes,
    check_names,
    choose,
    matches,
    note_fused,
    pick_spec,
)

ATTRIBUTE = "mixed_precision"


@dataclass
class Request:
    """A quantiser's work."""

    default: Spec
    group_size: int  # as asked for: -1 stands for a whole row
    targets: list[Target]
    attributes: dict[str, Any]  # of the artifact to come


def read_request(model: HfModel, config: Any, skeleton: Skeleton, context: Context, adds: bool = False) -> Request:
    """Settings of the pass over those that SelectiveMixedPrecision left.

    `adds`: on a model that is quantised already, the pass may add layers that are not.
    """
    if skeleton.quantized is not None:
        _check_quantized(skeleton, model, adds)
    advised: dict[str, Any] = dict(model.attributes.get(ATTRIBUTE) or {})
    overrides: dict[str, dict[str, Any]] = {k: dict(v) for k, v in (advised.get("overrides") or {}).items()}
    own = {
        name: dict(given) if isinstance(given, dict) else given.model_dump(exclude_none=True)
        for name, given in (config.overrides or {}).items()
    }
    check_names("overrides", own, skeleton)
    overrides |= own
    exclude = list(config.modules_to_not_convert or [])
    check_names("modules_to_not_convert", exclude, skeleton)
    named = [entry for entry in overrides if not any(matches(out, entry) for out in exclude)]
    targets = choose(
        skeleton,
        spec=pick_spec(config.bits, config.group_size, config.sym, overrides),
        lm_head=config.lm_head or any(skeleton.head is not None and matches(e, skeleton.head) for e in named),
        embeds=getattr(config, "embeds", False)
        or (adds and any(skeleton.embedding is not None and matches(e, skeleton.embedding) for e in named)),
        vision=getattr(config, "quantize_vision", False),
        exclude=lambda name: any(matches(entry, name) for entry in exclude),
    )
    if skeleton.unnamed and not targets:
        raise PassError(
            f"the files of {model.path} have no weights by the names of {type(skeleton.model).__name__}'s layers, "
            f"{skeleton.unnamed[0]} and its like",
            "transformers renames this architecture's weights as it loads them, which no quantiser here follows.",
        )
    if skeleton.unnamed:
        context.warn(
            f"{len(skeleton.unnamed)} layers, {skeleton.unnamed[0]} first, are not in the files by their names"
        )
    if not targets:
        if skeleton.quantized is not None:
            raise PassError(
                "the model is quantised already and nothing is left to do",
                "Quantise the original model, or ask for what is left: `lm_head: true`, `embeds: true`.",
            )
        raise PassError("no layer is left to quantise", "Look at `modules_to_not_convert`.")
    check_group_sizes(targets, context.note)
    note_fused(skeleton, context.note)
    return Request(
        Spec(config.bits, max(config.group_size, 1), config.sym),
        config.group_size,
        targets,
        {name: value for name, value in model.attributes.items() if name != ATTRIBUTE or adds},
    )


def _check_quantized(skeleton: Skeleton, model: HfModel, adds: bool) -> None:
    assert skeleton.quantized is not None
    method = skeleton.quantized.get("quant_method")
    if not adds or method != "gptq":
        raise PassError(f"the model is quantised already ({method})", "Quantise the original model, with full weights.")
