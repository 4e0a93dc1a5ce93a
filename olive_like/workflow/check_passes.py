"""The passes of a workflow: types, settings, spaces, and the names that they use."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from olive_like.passes import registry
from olive_like.plugins import Broken
from olive_like.workflow.entries import PassEntry
from olive_like.workflow.located import Loc, plain
from olive_like.workflow.spaces import CANDIDATE_KEYS, BadSpace, Space, find_spaces, parse_space, with_value, without

if TYPE_CHECKING:
    from olive_like.passes.base import Pass
    from olive_like.workflow.check import Sections

RESERVED = ("type", "input", "inputs", "system", "evaluator", "config")


def check_passes(sections: Sections) -> None:
    """Build the entries of `passes:`."""
    found: dict[str, PassEntry] = {}
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


def _alternatives(sections: Sections, name: str, values: Any, loc: Loc) -> PassEntry:
    from dataclasses import replace

    if not values:
        sections.problems.add("OL102", f"the list of alternatives of {name!r} is empty", loc)
        return _broken(name, None, None, _Inputs(), loc)
    skips = tuple(index for index, value in enumerate(values) if _is_skip(value))
    if len(skips) == len(values):
        sections.problems.add("OL102", f"{name!r} has no pass among its alternatives", loc)
        return _broken(name, None, None, _Inputs(), loc)
    first, *others = (
        _entry(sections, name, value, (*loc, index)) for index, value in enumerate(values) if index not in skips
    )
    return replace(first, alternatives=tuple(others), skips=skips)


def _is_skip(value: Any) -> bool:
    """Among alternatives `null` and `{type: Skip}` stand for leaving the pass out."""
    return value is None or (isinstance(value, dict) and str(value.get("type", "")).lower() == "skip")


def _entry(sections: Sections, name: str, value: Any, loc: Loc) -> PassEntry:
    if value is None:
        sections.problems.add("OL102", "a pass needs a `type`", loc, key=True)
    entry = sections.mapping(value, loc)
    if entry is None:
        return _broken(name, None, None, _Inputs(), loc)
    inputs = _inputs(sections, entry, loc)
    system = sections.text(entry.get("system"), (*loc, "system"))
    if system is not None:
        sections.refer("systems", system, (*loc, "system"))
    evaluator = _evaluator(sections, entry.get("evaluator"), loc)
    kind = sections.type_of(entry, loc, "a pass")
    cls = _class(sections, kind, loc) if kind is not None else None
    if cls is None or kind is None:
        return _broken(name, kind, None, inputs, loc)
    if not cls.available():
        from olive_like.workflow.dialects.unavailable import hint_for

        message = f"pass type not available: {cls.__name__} is declared, not implemented yet"
        sections.problems.add("OL302", message, (*loc, "type"), hint_for(cls.__name__))
    settings = {key: item for key, item in entry.items() if key not in RESERVED}
    sections.nested(entry, settings, loc)
    spaces, unusable = _spaces(sections, settings, loc)
    point: Mapping[str, Any] = settings
    for path in unusable:
        point = without(point, path)
    for path, space in spaces.items():
        point = with_value(point, path, space.first)
    config = _config(sections, cls, point, loc, spaces, unusable)
    proper = registry.entry(kind).name
    if config is None or not _data_references(sections, config, loc, spaces):
        return _broken(name, proper, cls, inputs, loc)
    return PassEntry(
        name=name,
        type=proper,
        cls=cls,
        config=config,
        settings=plain(point),
        inputs=inputs.names,
        input_locs=inputs.locs,
        system=system,
        evaluator=evaluator,
        spaces=spaces,
        loc=loc,
    )


def _class(sections: Sections, kind: str, loc: Loc) -> type[Pass] | None:
    try:
        return registry.load(kind)
    except Broken as broken:
        sections.problems.add("OL107", broken.message, (*loc, "type"), broken.hint)
        return None
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


class _Inputs(NamedTuple):
    """The inputs of a pass and where each is written."""

    names: tuple[str, ...] | None = None
    locs: tuple[Loc, ...] = ()


def _inputs(sections: Sections, entry: Mapping[str, Any], loc: Loc) -> _Inputs:
    given = [key for key in ("input", "inputs") if entry.get(key) is not None]
    if not given:
        return _Inputs()
    if len(given) == 2:
        sections.problems.add("OL106", "`input` and `inputs` exclude each other", (*loc, "inputs"), key=True)
    value, where = entry[given[0]], (*loc, given[0])
    if isinstance(value, str):
        return _Inputs((value,), (where,))
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return _Inputs(tuple(value), tuple((*where, index) for index in range(len(value))))
    sections.problems.add("OL103", f"`{given[0]}` takes the name of a pass, or a list of names", where)
    return _Inputs()


def _evaluator(sections: Sections, value: Any, loc: Loc) -> Any:
    where = (*loc, "evaluator")
    if value is None:
        return None
    if isinstance(value, str):
        return value if sections.refer("evaluators", value, where) else None
    return sections.evaluator(value, where)


def _spaces(sections: Sections, settings: Mapping[str, Any], loc: Loc) -> tuple[dict[Loc, Space], list[Loc]]:
    """The spaces by their paths, and the paths of those that make no sense."""
    found: dict[Loc, Space] = {}
    unusable: list[Loc] = []
    for path, value in find_spaces(settings):
        try:
            found[path] = parse_space(value)
        except BadSpace as error:
            unusable.append(path)
            sections.problems.add("OL111", f"`{path[-1]}`: {error}", _place(sections, loc, path))
    return found, unusable


def _config(
    sections: Sections,
    cls: type[Pass],
    point: Mapping[str, Any],
    loc: Loc,
    spaces: Mapping[Loc, Space],
    unusable: list[Loc],
) -> Any:
    """The settings as the pass's own model, every candidate of every space tried on it."""
    settings = sections.expanded(cls.Config, plain(point), loc)
    context = {"base_dir": sections.base_dir}
    result = None
    try:
        result = cls.Config.model_validate(settings, context=context)
    except ValidationError as error:
        _report(sections, error, cls, settings, loc, spaces, unusable)
    for path, space in spaces.items():
        for index, candidate in enumerate(space.candidates()[1:], 1):
            trial = with_value(settings, path, plain(candidate))
            try:
                cls.Config.model_validate(trial, context=context)
            except ValidationError as error:
                _report_candidate(sections, error, cls, trial, path, _place(sections, loc, path, index))
    return None if unusable else result


def _report_candidate(
    sections: Sections, error: ValidationError, cls: type[Pass], trial: Any, path: Loc, place: Loc
) -> None:
    from olive_like.workflow.validation import explained

    for found in explained(error, cls.Config, trial, RESERVED):
        if found.path[: len(path)] == path:
            sections.problems.add(found.code, found.message, place, found.hint)


def _report(
    sections: Sections,
    error: ValidationError,
    cls: type[Pass],
    settings: Any,
    loc: Loc,
    spaces: Mapping[Loc, Space],
    unusable: list[Loc],
) -> None:
    from olive_like.workflow.validation import explained

    for found in explained(error, cls.Config, settings, RESERVED):
        if found.code == "OL102" and found.path in unusable:
            continue
        place = _place(sections, loc, found.path, 0 if found.path in spaces else None)
        sections.problems.add(found.code, found.message, place, found.hint, key=found.at_key)


def _place(sections: Sections, loc: Loc, path: Loc, candidate: int | None = None) -> Loc:
    """Where a setting is written; of a space the place of one candidate."""
    place = sections.place(loc, path)
    if candidate is None:
        return place
    entry: Any = sections.tree
    for part in place:
        entry = entry[part]
    values = next((key for key in CANDIDATE_KEYS if isinstance(entry.get(key), (list, tuple))), None)
    return (*place, values, candidate) if values else place


def _data_references(sections: Sections, config: Any, loc: Loc, spaces: Mapping[Loc, Space]) -> bool:
    found = [
        sections.refer("data_configs", name, _place(sections, loc, (field,), candidate))
        for field, candidate, name in data_names(config, spaces)
    ]
    return all(found)


def _broken(name: str, kind: str | None, cls: type[Pass] | None, inputs: _Inputs, loc: Loc) -> PassEntry:
    """What keeps the place of a pass that cannot be used, so that the graph around it can still be checked."""
    from olive_like.artifacts import Artifact
    from olive_like.passes.base import Pass, PassConfig

    promises: dict[str, Any] = {"accepts": Artifact, "produces": Artifact, "arity": (0, None)}
    if cls is not None:
        promises = {promise: getattr(cls, promise) for promise in promises}
    return PassEntry(
        name=name,
        type=kind or "",
        cls=type("Broken", (Pass,), promises),
        config=PassConfig(),
        settings={},
        inputs=inputs.names,
        input_locs=inputs.locs,
        loc=loc,
        broken=True,
    )


def data_fields(config: type[Any]) -> tuple[str, ...]:
    """The settings of a pass that take a data set."""
    data = sys.modules.get("olive_like.data.config")
    if data is None:
        return ()  # no class so far has such a setting
    known = _DATA_FIELDS.get(config)
    if known is None:
        known = _DATA_FIELDS[config] = tuple(
            name
            for name, info in config.model_fields.items()
            if data.DataConfig in (info.annotation, *getattr(info.annotation, "__args__", ()))
        )
    return known


_DATA_FIELDS: dict[type[Any], tuple[str, ...]] = {}


def data_names(config: Any, spaces: Mapping[Loc, Space]) -> Iterator[tuple[str, int | None, str]]:
    """Setting, number among what the setting may be (None: it is not left open) and name of every data set named."""
    for field in data_fields(type(config)):
        space = spaces.get((field,))
        values: Iterable[tuple[int | None, Any]] = (
            [(None, getattr(config, field))] if space is None else enumerate(space.candidates())
        )
        yield from ((field, number, value) for number, value in values if isinstance(value, str))
