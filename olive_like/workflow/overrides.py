"""`--set passes.lora.r=8`: values from the command line put into the tree of a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from olive_like.diagnostics.nearest import did_you_mean
from olive_like.workflow.located import Loc, LocatedDict, LocatedList
from olive_like.workflow.problems import Problems, dotted

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_PATH = re.compile(r"[^.\[\]]+(\[\d+\]|\.[^.\[\]]+)*")
_NOT_SETTINGS = ("type", "input", "inputs", "system", "evaluator")


@dataclass(frozen=True)
class Override:
    """One value from the command line, and where it went."""

    text: str
    loc: Loc
    could_be_text: bool

    @property
    def field(self) -> str:
        """Its place as diagnostics name it."""
        return dotted(self.loc)


def apply_overrides(
    tree: LocatedDict, overrides: Sequence[str], problems: Problems, as_text: Collection[str] = ()
) -> list[Override]:
    """Put the values in; what cannot be applied is a problem. Fields in `as_text` get the bare text."""
    applied = []
    for text in overrides:
        path, sign, written = text.partition("=")
        parts = _parts(path)
        if not sign or not parts:
            problems.add("OL014", f"`--set {text}` is not KEY=VALUE", (), "Write `--set passes.NAME.SETTING=VALUE`.")
            continue
        found = _holder(tree, parts, text, problems)
        if found is None:
            continue
        holder, loc = found
        try:
            value = value_of(written)
        except ValueError as error:
            problems.add("OL014", f"`--set {text}`: {error}", ())
            continue
        override = Override(text, loc, not isinstance(value, str) and not written.startswith(("[", "{")))
        _put(holder, loc[-1], written if override.field in as_text else value)
        applied.append(override)
    return applied


def _parts(path: str) -> list[str | int]:
    path = path.strip()
    if not _PATH.fullmatch(path):
        return []
    return [int(m[1]) if m[1] is not None else m[2] for m in _PART.finditer(path)]


def _holder(
    tree: LocatedDict, parts: list[str | int], text: str, problems: Problems
) -> tuple[LocatedDict | LocatedList, Loc] | None:
    """The mapping or list that the last part of the path belongs to, and the full path."""
    holder: Any = tree
    loc: Loc = ()
    for depth, part in enumerate(parts[:-1]):
        following = _step(holder, part)
        if following is None and depth == 0 and _is_section(part):
            holder.put(part, LocatedDict())
            following = part
        if following is None or not isinstance(holder[following], (LocatedDict, LocatedList)):
            known = [str(k) for k in holder] if isinstance(holder, dict) else _names(holder)
            place = f" in {dotted(loc)}" if loc else ""
            problems.add("OL014", f"`--set {text}`: there is no `{part}`{place}", loc, did_you_mean(str(part), known))
            return None
        holder, loc = holder[following], (*loc, following)
    last = parts[-1]
    if isinstance(holder, LocatedList):
        index = _step(holder, last)
        if index is None:
            problems.add("OL014", f"`--set {text}`: {dotted(loc)} has no entry {last}", loc)
            return None
        return holder, (*loc, index)
    inner = holder.get("config")
    if isinstance(inner, LocatedDict) and last not in holder and last not in _NOT_SETTINGS:
        return inner, (*loc, "config", str(last))
    return holder, (*loc, str(last))


def _step(holder: Any, part: str | int) -> str | int | None:
    """The key or index that a part of a path means; entries of a list may be named by their `name`."""
    if isinstance(holder, LocatedDict):
        return str(part) if str(part) in holder else None
    if isinstance(holder, LocatedList):
        if str(part).isdigit():
            return int(part) if int(part) < len(holder) else None
        names = [item.get("name") if isinstance(item, dict) else None for item in holder]
        return names.index(part) if part in names else None
    return None


def _names(holder: Any) -> list[str]:
    return [str(item["name"]) for item in holder if isinstance(item, dict) and "name" in item]


def _is_section(part: str | int) -> bool:
    from olive_like.workflow.schema import Workflow

    return part in Workflow.model_fields and part != "passes"


def value_of(written: str) -> Any:
    """The value as YAML would read it."""
    from olive_like.workflow.yaml_reader import scalar_of

    if not written.startswith(("[", "{", '"', "'")):
        return scalar_of(written)
    from olive_like.workflow.loader import loads

    loaded = loads(f"value: {written}", None, "yaml")
    if loaded.tree is None or loaded.diagnostics:
        raise ValueError(loaded.diagnostics[0].message)
    return loaded.tree["value"]


def _put(holder: LocatedDict | LocatedList, key: str | int, value: Any) -> None:
    if isinstance(holder, LocatedDict):
        holder.put(str(key), value)
    else:
        holder[int(key)] = value
