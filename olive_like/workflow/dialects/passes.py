"""Passes: what Olive writes around their settings, and settings that are left open."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from olive_like.passes.base import Pass
from olive_like.workflow.dialects.data import translate_data
from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.search import is_conditional
from olive_like.workflow.dialects.tree import rename, take, without_effect
from olive_like.workflow.located import LocatedDict, LocatedList

_NO_EFFECT = {
    "disable_search": "a setting is searched only where the file leaves it open",
    "clean_run_cache": "a result is found by its content, so an old one is never taken for a new one",
    "output_name": "outputs are named under `outputs`",
}


def each_pass(tree: LocatedDict) -> Iterator[tuple[str, LocatedDict]]:
    """Every pass with where it is written; alternatives of a pass one by one."""
    passes = tree.get("passes")
    if not isinstance(passes, LocatedDict):
        return
    for name, value in passes.items():
        if isinstance(value, LocatedDict):
            yield f"passes.{name}", value
        elif isinstance(value, LocatedList):
            for index, item in enumerate(value):
                if isinstance(item, LocatedDict):
                    yield f"passes.{name}[{index}]", item


def settings_of(step: LocatedDict) -> list[LocatedDict]:
    """Where settings of a pass stand: flat, and under `config`."""
    inner = step.get("config")
    return [step, inner] if isinstance(inner, LocatedDict) else [step]


def class_of(step: LocatedDict) -> type[Pass] | None:
    """The class of a pass, where there is one of that name; what is wrong with a name is said when it is checked."""
    from olive_like.passes.registry import UnknownPass, load
    from olive_like.plugins import Broken

    try:
        return load(str(step["type"] or "Null") if "type" in step else "")
    except (UnknownPass, Broken):
        return None


def names_of(cls: type[Pass], name: str) -> list[Any]:
    """All names of a setting of a pass, given one of them; none if there is no such setting."""
    for key, info in cls.Config.model_fields.items():
        alias = info.validation_alias
        names = [key, *(getattr(alias, "choices", None) or ([alias] if alias else []))]
        if name in names:
            return names
    return []


def translate_pass(step: LocatedDict, report: Report, field: str) -> None:
    """Bring one pass into its own form, in place."""
    rename(step, {"host": "system"})
    without_effect(step, _NO_EFFECT, report, field)
    for settings in settings_of(step):
        _unused_script(step, settings, report, field)
        for key, value in list(settings.items()):
            if isinstance(value, LocatedDict):
                if is_conditional(value):
                    _conditional(settings, key, report, f"{field}.{key}")
                elif key.endswith("data_config"):
                    translate_data(value, report, f"{field}.{key}")
            elif isinstance(value, str) and value in ("SEARCHABLE_VALUES", "DEFAULT_VALUE", "DEFAULT"):
                _placeholder(step, settings, key, report, f"{field}.{key}")


def keep_adapters_apart(tree: LocatedDict, report: Report) -> None:
    """Adapters that a later pass takes out of the graph are not merged into its weights before."""
    steps = [(field, step, str(step.get("type", "")).lower()) for field, step in each_pass(tree)]
    if not any(kind == "extractadapters" for _, _, kind in steps):
        return
    for field, step, kind in steps:
        if kind == "onnxconversion" and not any("merge_adapter_weights" in settings for settings in settings_of(step)):
            step["merge_adapter_weights"] = False
            report.add(
                "OL350",
                "the adapter stays apart in the graph, as ExtractAdapters takes it out later",
                at_value(step, "type"),
                f"{field}.merge_adapter_weights",
                "Write `merge_adapter_weights: false` to have it said.",
            )


def _unused_script(step: LocatedDict, settings: LocatedDict, report: Report, field: str) -> None:
    """Olive lets a script stand beside many passes that take nothing from it."""
    given = [key for key in ("user_script", "script_dir") if key in settings]
    cls = class_of(step) if given else None
    if cls is not None:
        unused = {key: "no setting of this pass is a function of it" for key in given if not names_of(cls, key)}
        without_effect(settings, unused, report, field)


def _conditional(settings: LocatedDict, key: str, report: Report, field: str) -> None:
    report.add(
        "OL307",
        f"search space not available: that of {key} depends on other settings",
        at_key(settings, key),
        field,
        "Write {choice: [...]}, {int: [low, high]} or {float: [low, high]}.",
    )
    take(settings, key)


def _placeholder(step: LocatedDict, settings: LocatedDict, key: str, report: Report, field: str) -> None:
    """A word in place of a value: the default, or all values that the setting can have."""
    if settings[key] != "SEARCHABLE_VALUES":
        take(settings, key)
        return
    cls = class_of(step)
    if cls is None:
        take(settings, key)  # the pass itself is what is missing
        return
    choices = searchable_values(cls, key)
    mark = at_value(settings, key)
    if choices is None:
        report.add(
            "OL307",
            f"search space not available: {key} of {cls.__name__} has no list of values to search",
            at_key(settings, key),
            field,
            "Write one: {choice: [...]}, {int: [low, high]} or {float: [low, high]}.",
        )
        take(settings, key)
        return
    space = LocatedDict(mark=mark)
    space.put("choice", LocatedList(choices, mark), mark, mark)
    settings.put(key, space, at_key(settings, key), mark)


def searchable_values(cls: type[Pass], key: str) -> list[Any] | None:
    """The values that a setting of few values can have."""
    for name, info in cls.Config.model_fields.items():
        if key == name or key == info.alias:
            return _values(info.annotation)
    return None


def _values(annotation: Any) -> list[Any] | None:
    if annotation is bool:
        return [True, False]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [item.value for item in annotation]
    inside = [part for part in get_args(annotation) if part is not type(None)]
    return _values(inside[0]) if len(inside) == 1 else None


def leaves_open(tree: LocatedDict) -> bool:
    """Whether any pass has alternatives or a setting with a space."""
    from olive_like.workflow.spaces import find_spaces

    passes = tree.get("passes")
    if not isinstance(passes, LocatedDict):
        return False
    return any(isinstance(value, LocatedList) for value in passes.values()) or any(
        next(find_spaces(step), None) is not None for _, step in each_pass(tree)
    )
