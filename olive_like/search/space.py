"""What a workflow leaves open: its dimensions, and the workflow at one point of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from olive_like.canonical import digest
from olive_like.graph.model import SOURCE
from olive_like.workflow.entries import PassEntry
from olive_like.workflow.schema import Workflow
from olive_like.workflow.spaces import Space

Point = dict[str, Any]  # dimension's name -> value


@dataclass(frozen=True)
class Dimension:
    """One thing left open: a setting, or which of a pass's alternatives is taken."""

    name: str  # "passes.lora.r"; of an alternative's setting "passes.quant[1].bits"
    space: Space
    place: tuple[Any, ...]  # where it is written in the workflow's tree
    of: tuple[str, int] | None = None  # it counts only where this dimension has this value

    def active(self, point: Mapping[str, Any]) -> bool:
        return self.of is None or point.get(self.of[0]) == self.of[1]


def dimensions(workflow: Workflow) -> list[Dimension]:
    """Everything that a workflow leaves open, in the order of writing."""
    found: list[Dimension] = []
    for name, entry in workflow.passes.items():
        if entry.alternatives or entry.skips:
            choice = f"passes.{name}"
            entries = {int(one.loc[2]): one for one in (entry, *entry.alternatives)}
            places = sorted((*entries, *entry.skips))
            found.append(Dimension(choice, Space("choice", tuple(places)), ("passes", name)))
            for index, one in entries.items():
                found += _of_entry(workflow, one, f"{choice}[{index}]", ("passes", name, index), (choice, index))
        else:
            found += _of_entry(workflow, entry, f"passes.{name}", ("passes", name), None)
    return found


def _of_entry(
    workflow: Workflow, entry: PassEntry, name: str, loc: tuple[Any, ...], of: tuple[str, int] | None
) -> Iterator[Dimension]:
    for path, space in entry.spaces.items():
        inner = workflow.written((*loc, "config"))
        place = (*loc, "config", *path) if isinstance(inner, dict) and path[0] in inner else (*loc, *path)
        yield Dimension(".".join([name, *map(str, path)]), space, place, of)


def grid(dims: list[Dimension]) -> Iterator[Point] | None:
    """Every point, where their number is finite; dimensions that do not count at a point are left out of it."""
    values = [_values(dimension.space) for dimension in dims]
    if any(value is None for value in values):
        return None
    return _points(dims, [value for value in values if value is not None])


def _points(dims: list[Dimension], values: list[list[Any]]) -> Iterator[Point]:
    seen: set[str] = set()
    for combination in product(*values):
        whole = {dimension.name: value for dimension, value in zip(dims, combination, strict=True)}
        point = {dimension.name: whole[dimension.name] for dimension in dims if dimension.active(whole)}
        if (key := identity(point)) not in seen:
            seen.add(key)
            yield point


def _values(space: Space) -> list[Any] | None:
    """All values of a space, if it has finitely many."""
    if space.kind == "choice":
        return list(space.values)
    if space.kind == "int" and not space.log:
        return list(range(int(space.low), int(space.high) + 1, int(space.step or 1)))
    if space.kind == "float" and space.step:
        count = int((space.high - space.low) / space.step + 1e-9)
        return [space.low + index * space.step for index in range(count + 1)]
    return None


def identity(point: Point) -> str:
    """The same for the same point."""
    return digest(_plain(point))


def at(workflow: Workflow, dims: list[Dimension], point: Point) -> dict[str, Any]:
    """The workflow's tree with nothing left open: an ordinary workflow."""
    tree: dict[str, Any] = _plain(workflow.tree)
    tree.pop("search_strategy", None)
    by_name = {dimension.name: dimension for dimension in dims}
    # Settings first: an alternative's place is gone once it is chosen.
    for name, value in sorted(point.items(), key=lambda item: by_name[item[0]].of is None):
        dimension = by_name[name]
        holder = tree
        for part in dimension.place[:-1]:
            holder = holder[part]
        is_choice = len(dimension.place) == 2
        holder[dimension.place[-1]] = holder[dimension.place[-1]][value] if is_choice else copy.deepcopy(value)
    for name, value in point.items():
        if len(by_name[name].place) == 2 and value in workflow.passes[by_name[name].place[1]].skips:
            _leave_out(tree, workflow.passes[by_name[name].place[1]])
    if not tree["passes"]:  # every pass was left out: the candidate is the input model itself
        tree |= {"outputs": {"model": SOURCE}, "evaluate_input_model": True}
    return tree


def _leave_out(tree: dict[str, Any], entry: PassEntry) -> None:
    """Take a pass out: what followed it follows what it would have followed."""
    passes, name = tree["passes"], entry.name
    said = entry.inputs[0] if entry.inputs else None
    before = said or _above(passes, name)
    following = _below(passes, name)
    del passes[name]
    for other in passes.values():
        for key in ("input", "inputs"):
            given = other.get(key) if isinstance(other, dict) else None
            if given == name:
                other[key] = before
            elif isinstance(given, list):
                other[key] = [before if one == name else one for one in given]
    behind = passes.get(following) if following else None
    if said and isinstance(behind, dict) and not any(key in behind for key in ("input", "inputs")):
        behind["input"] = said
    outputs = tree.get("outputs")
    if isinstance(outputs, dict):
        tree["outputs"] = {key: before if value == name else value for key, value in outputs.items()}
    elif isinstance(outputs, list):
        tree["outputs"] = {key: before if key == name else key for key in outputs}
    elif outputs == name:
        tree["outputs"] = {name: before}


def _above(passes: Mapping[str, Any], name: str) -> str:
    names = list(passes)
    return names[names.index(name) - 1] if names.index(name) else SOURCE


def _below(passes: Mapping[str, Any], name: str) -> str | None:
    names = list(passes)
    return names[names.index(name) + 1] if names.index(name) + 1 < len(names) else None


def in_words(workflow: Workflow, point: Point) -> dict[str, Any]:
    """A point for people: settings by short names, alternatives by the type of pass that is taken."""
    words: dict[str, Any] = {}
    for name, value in point.items():
        short = re.sub(r"\[\d+\]", "", name.removeprefix("passes."))
        entry = workflow.passes.get(short)
        if entry is None:
            words[short] = value
            continue
        taken = next((one for one in (entry, *entry.alternatives) if one.loc[-1] == value), None)
        words[short] = taken.type if taken is not None else "left out"
    return words


def _plain(value: Any) -> Any:
    """Mappings and lists without positions."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
