"""The passes of a workflow: types, settings, spaces, and the names that they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from olive_like.data.config import DataConfig
from olive_like.passes import registry
from olive_like.workflow.entries import PassEntry
from olive_like.workflow.located import Loc, plain
from olive_like.workflow.spaces import BadSpace, Space, find_spaces, parse_space, with_value

if TYPE_CHECKING:
    from olive_like.passes.base import Pass
    from olive_like.workflow.check import Sections

RESERVED = ("type", "input", "inputs", "system", "evaluator", "config")


def check_passes(sections: Sections) -> None:
    """Build the entries of `passes:`."""
    found: dict[str, PassEntry | None] = {}
    for name, value in (sections.mapping(sections.tree.get("passes"), ("passes",)) or {}).items():
        loc: Loc = ("passes", name)
        sections.check_name(name, loc)
        if name == "input_model":
            sections.problems.add("OL112", "`input_model` is the name of the model that the passes start from", loc,
                                  "Choose another name for the pass.", key=True)  # fmt: skip
        if isinstance(value, PassEntry):
            found[name] = value
        elif isinstance(value, (list, tuple)):
            found[name] = _alternatives(sections, name, value, loc)
        else:
            found[name] = _entry(sections, name, value, loc)
    sections.values["passes"] = found


def _alternatives(sections: Sections, name: str, values: Any, loc: Loc) -> PassEntry | None:
    from dataclasses import replace

    if not values:
        sections.problems.add("OL102", f"the list of alternatives of {name!r} is empty", loc)
        return None
    entries = [_entry(sections, name, value, (*loc, index)) for index, value in enumerate(values)]
    first, *others = entries
    return replace(first, alternatives=tuple(filter(None, others))) if first else None


def _entry(sections: Sections, name: str, value: Any, loc: Loc) -> PassEntry | None:
    if value is None:
        sections.problems.add("OL102", "a pass needs a `type`", loc, key=True)
        return None
    entry = sections.mapping(value, loc)
    if entry is None:
        return None
    inputs = _inputs(sections, entry, loc)
    system = sections.text(entry.get("system"), (*loc, "system"))
    if system is not None:
        sections.refer("systems", system, (*loc, "system"))
    evaluator = _evaluator(sections, entry.get("evaluator"), loc)
    kind = sections.type_of(entry, loc, "a pass", registry.names)
    cls = _class(sections, kind, loc) if kind is not None else None
    if cls is None or kind is None:
        return None
    if not cls.available():
        from olive_like.workflow.dialects.unavailable import hint_for

        message = f"pass type not available: {cls.__name__} is declared, not implemented yet"
        sections.problems.add("OL302", message, (*loc, "type"), hint_for(cls.__name__))
    settings = {key: item for key, item in entry.items() if key not in RESERVED}
    sections.nested(entry, settings, loc)
    spaces = _spaces(sections, settings, loc, "config" if isinstance(entry.get("config"), dict) else None)
    point: Mapping[str, Any] = settings
    for path, space in spaces.items():
        point = with_value(point, path, space.first)
    config = _config(sections, cls, point, loc, spaces)
    if config is None:
        return None
    _data_references(sections, config, loc)
    proper = registry.entry(kind).name
    return PassEntry(
        name, proper, cls, config, plain(point), inputs, system, evaluator, {p: s for p, s in spaces.items()}, (), loc
    )


def _class(sections: Sections, kind: str, loc: Loc) -> type[Pass] | None:
    try:
        return registry.load(kind)
    except registry.UnknownPass:
        from olive_like.workflow.dialects.unavailable import hint_for, known_elsewhere

        elsewhere = known_elsewhere(kind)
        if elsewhere is not None:
            message = f"pass type not available: {elsewhere}"
            sections.problems.add("OL301", message, (*loc, "type"), hint_for(elsewhere))
            return None
        hint = "`olive-like passes` lists them."
        sections.unknown_type("OL107", "pass", kind, (*loc, "type"), registry.names(), hint)
        return None


def _inputs(sections: Sections, entry: Mapping[str, Any], loc: Loc) -> tuple[str, ...] | None:
    given = [key for key in ("input", "inputs") if entry.get(key) is not None]
    if not given:
        return None
    if len(given) == 2:
        sections.problems.add("OL106", "`input` and `inputs` exclude each other", (*loc, "inputs"), key=True)
    value, where = entry[given[0]], (*loc, given[0])
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    sections.problems.add("OL103", f"`{given[0]}` takes the name of a pass, or a list of names", where)
    return None


def _evaluator(sections: Sections, value: Any, loc: Loc) -> Any:
    where = (*loc, "evaluator")
    if value is None:
        return None
    if isinstance(value, str):
        sections.refer("evaluators", value, where)
        return value
    return sections.evaluator(value, where)


def _spaces(sections: Sections, settings: Mapping[str, Any], loc: Loc, nested: str | None) -> dict[Loc, Space]:
    found = {}
    for path, value in find_spaces(settings):
        try:
            found[path] = parse_space(value)
        except BadSpace as error:
            sections.problems.add("OL111", f"`{path[-1]}`: {error}", _place(sections, loc, path))
    return found


def _config(
    sections: Sections, cls: type[Pass], point: Mapping[str, Any], loc: Loc, spaces: Mapping[Loc, Space]
) -> Any:
    """The settings as the pass's own model, every candidate of every space tried on it."""
    bad_spaces = [path for path, _ in find_spaces(point)]
    if bad_spaces:
        return None
    settings = sections.expanded(cls.Config, plain(point), loc)
    context = {"base_dir": sections.base_dir}
    result = None
    try:
        result = cls.Config.model_validate(settings, context=context)
    except ValidationError as error:
        _report(sections, error, cls, settings, loc)
    for path, space in spaces.items():
        for candidate in space.candidates()[1:]:
            trial = with_value(settings, path, plain(candidate))
            try:
                cls.Config.model_validate(trial, context=context)
            except ValidationError as error:
                place = _place(sections, loc, path)
                sections.problems.add_validation(error, (), cls.Config, trial, RESERVED, only=path, shown_at=place)
    return result


def _report(sections: Sections, error: ValidationError, cls: type[Pass], settings: Any, loc: Loc) -> None:
    from olive_like.workflow.validation import explained

    for found in explained(error, cls.Config, settings, RESERVED):
        place = _place(sections, loc, found.path)
        sections.problems.add(found.code, found.message, place, found.hint, key=found.at_key)


def _place(sections: Sections, loc: Loc, path: Loc) -> Loc:
    """Where a setting is written: beside the type, or under `config`."""
    entry = sections.tree
    for part in loc:
        entry = entry[part]  # type: ignore[index]
    inner = entry.get("config")
    if path and isinstance(inner, dict) and path[0] in inner:
        return (*loc, "config", *path)
    return (*loc, *path)


def _data_references(sections: Sections, config: Any, loc: Loc) -> None:
    for field in data_fields(type(config)):
        value = getattr(config, field)
        if isinstance(value, str):
            sections.refer("data_configs", value, _place(sections, loc, (field,)))


def data_fields(config: type[Any]) -> tuple[str, ...]:
    """The settings of a pass that take a data set."""
    known = _DATA_FIELDS.get(config)
    if known is None:
        known = _DATA_FIELDS[config] = tuple(
            name
            for name, info in config.model_fields.items()
            if info.annotation is DataConfig or DataConfig in getattr(info.annotation, "__args__", ())
        )
    return known


_DATA_FIELDS: dict[type[Any], tuple[str, ...]] = {}
