"""Which module belongs to which part: by number of blocks, or by what a table says that each costs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._passthrough import copy_model
from olive_like.passes.quantize._skeleton import Skeleton, load_skeleton

ATTRIBUTE = "split_assignments"


def capture(model: HfModel, config: Any, context: Context) -> HfModel:
    """The same model, with the assignments among its attributes."""
    skeleton = load_skeleton(model.path)
    if config.cost_model is None:
        parts = by_count(_blocks(skeleton, config.block_to_split), config.num_splits)
    else:
        parts = by_cost(_costs(Path(config.cost_model)), config.num_splits, config.max_part_bytes)
    if config.unique_embeds_lm_head_splits:
        parts = _apart(parts, skeleton.embedding, skeleton.head)
    copy_model(model.path, context.output)
    context.note(f"{len(parts)} modules in {len(set(parts.values()))} parts")
    return HfModel(context.output, {**model.attributes, ATTRIBUTE: parts})


def by_count(blocks: Sequence[str], count: int) -> dict[str, int]:
    """Blocks in their order, parts as even as they can be."""
    if count > len(blocks):
        raise PassError(f"{count} parts of {len(blocks)} blocks cannot be made", "Lower `num_splits`.")
    return {name: index * count // len(blocks) for index, name in enumerate(blocks)}


def by_cost(costs: Sequence[tuple[str, int, bool]], count: int | None, most: int | None) -> dict[str, int]:
    """Modules in their order: name, bytes, whether it stands alone. Even parts, or each as full as it may be."""
    total = sum(size for _, size, alone in costs if not alone)
    parts: dict[str, int] = {}
    part, filled, fresh, done, share = 0, 0, True, 0, 0
    for name, size, alone in costs:
        if most is not None and size > most:
            raise PassError(f"{name} has {size:,} bytes, more than a part may have", "Raise `max_part_bytes`.")
        # Even parts end where a module's middle is past their share of the whole, full ones before they overflow.
        if most is not None:
            over = filled + size > most
        elif alone or not total:
            over = False
        else:
            before, share = share, min((count or 1) - 1, int((done + size / 2) * (count or 1) / total))
            over, done = share > before, done + size
        if not fresh and (alone or over):
            part, filled = part + 1, 0
        parts[name] = part
        filled, fresh = filled + size, False
        if alone:
            part, filled, fresh = part + 1, 0, True
    return parts


def _apart(parts: dict[str, int], embedding: str | None, head: str | None) -> dict[str, int]:
    """The embedding first and the head last, each alone."""
    inner = {name: part for name, part in parts.items() if name not in (embedding, head)}
    numbers = {old: new for new, old in enumerate(sorted(set(inner.values())), 1 if embedding else 0)}
    result = {name: numbers[part] for name, part in inner.items()}
    if embedding:
        result = {embedding: 0, **result}
    return {**result, head: max(result.values()) + 1} if head else result


def _blocks(skeleton: Skeleton, wanted: str | list[str] | None) -> list[str]:
    if wanted is None:
        prefix, blocks = skeleton.blocks()
        return [f"{prefix}.{index}" for index in range(len(blocks))]
    names = []
    modules = dict(skeleton.model.named_modules())
    for path in [wanted] if isinstance(wanted, str) else wanted:
        found = [f"{path}.{name}" for name, _ in modules[path].named_children()] if path in modules else []
        if not found:
            raise PassError(f"the model has no list of blocks {path!r}", "It is a path like `model.layers`.")
        names += found
    return names


def _costs(file: Path) -> list[tuple[str, int, bool]]:
    try:
        with file.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text))
        found = [
            (row["module"], int(row["num_bytes"]), int(row["num_bytes"]) > 0 and row.get("num_flops") == "0")
            for row in rows
        ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise PassError(
            f"{file.name} is no table of costs: {type(error).__name__}: {error}",
            "It has a header with `module` and `num_bytes`, and a line for each module.",
        ) from error
    if not found:
        raise PassError(f"{file.name} has no modules")
    return found
