"""Checks a workflow section by section and builds its parts; every problem is noted, none stops the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from olive_like.diagnostics.nearest import did_you_mean, nearest
from olive_like.workflow.environment import expand_settings
from olive_like.workflow.located import Loc, plain
from olive_like.workflow.problems import Problems, shown

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+(?::\w+)?\Z|[\w.]+:\w+\Z")


def checked_sections(tree: dict[str, Any], problems: Problems, base_dir: Path) -> dict[str, Any]:
    """The values of a workflow's fields. Only to be used where no problem is an error."""
    return Sections(tree, problems, base_dir).check()


class Sections:
    """One workflow on its way from data to checked parts."""

    def __init__(self, tree: dict[str, Any], problems: Problems, base_dir: Path) -> None:
        self.tree, self.problems, self.base_dir = tree, problems, base_dir
        self.values: dict[str, Any] = {}

    def check(self) -> dict[str, Any]:
        from olive_like.workflow.check_passes import check_passes

        self._unknown_keys()
        self._settings()
        self._input_model()
        self._data_configs()
        self._systems()
        self._evaluators()
        check_passes(self)
        self._search()
        self._outputs()
        self._references()
        for section in ("data_configs", "systems", "evaluators"):
            self.values[section] = {name: part for name, part in self.values[section].items() if part is not None}
        return self.values

    # -- helpers -----------------------------------------------------------------------------------

    def build(
        self, model: type[BaseModel], settings: Any, loc: Loc, extra_names: Iterable[str] = ()
    ) -> Any:  # the model, or None after noting what is wrong
        """Validate settings against a model, with environment variables expanded where its fields allow it."""
        settings = self.expanded(model, plain(settings), loc)
        try:
            return model.model_validate(settings, context={"base_dir": self.base_dir})
        except ValidationError as error:
            from olive_like.workflow.validation import explained

            spaces: set[Loc] = set()
            for found in explained(error, model, settings, extra_names):
                space = _space_on(settings, found.path)
                if space is not None:
                    if space not in spaces:
                        message = f"`{space[-1]}` cannot be left open: only settings of passes can"
                        hint = "Write one value. A pass may choose between whole data sets by their names."
                        self.problems.add("OL507", message, self.place(loc, space), hint)
                    spaces.add(space)
                    continue
                self.problems.add(found.code, found.message, self.place(loc, found.path), found.hint, key=found.at_key)
            return None

    def place(self, loc: Loc, path: Loc) -> Loc:
        """Where a setting of an entry is written: beside its type, or under `config`."""
        entry: Any = self.tree
        for part in loc:
            entry = entry[part]
        inner = entry.get("config") if isinstance(entry, dict) else None
        nested = bool(path) and isinstance(inner, dict) and path[0] in inner
        return (*loc, "config", *path) if nested else (*loc, *path)

    def expanded(self, model: type[BaseModel], settings: Any, loc: Loc) -> Any:
        def unset(path: Loc, name: str) -> None:
            hint = f"Set it, or write a default: `${{{name}:-default}}`."
            self.problems.add("OL013", f"the environment variable {name} is not set", self.place(loc, path), hint)

        return expand_settings(model, settings, unset)

    def mapping(self, value: Any, loc: Loc) -> dict[str, Any] | None:
        """The value if it is a mapping; anything else is a problem, but for null."""
        if isinstance(value, dict):
            return value
        if value is not None:
            self.problems.add("OL103", f"`{loc[-1]}` takes a mapping, not {shown(value)}", loc)
        return None

    def text(self, value: Any, loc: Loc) -> str | None:
        """The value if it is text; anything else is a problem, but for null."""
        if isinstance(value, str):
            return value
        if value is not None:
            self.problems.add("OL103", f"`{loc[-1]}` takes text, not {shown(value)}", loc)
        return None

    def check_name(self, name: Any, loc: Loc) -> None:
        """Names become parts of file names and of paths; of a mapping in Python they may be anything."""
        if not isinstance(name, str) or not _NAME.match(name):
            hint = "Use letters, digits, `_` and `-`, at most 100 of them."
            self.problems.add("OL112", f"{name!r} cannot be a name", loc, hint, key=True)

    def type_of(self, entry: dict[str, Any], loc: Loc, what: str) -> str | None:
        """The `type` of an entry, if it is there and could be one."""
        if entry.get("type") is None:
            misspelt = nearest("type", entry)
            if misspelt is not None and misspelt != "type":
                message = f"unknown key `{misspelt}`"
                self.problems.add("OL101", message, (*loc, misspelt), "Did you mean `type`?", key=True)
            else:
                self.problems.add("OL102", f"{what} needs a `type`", loc, key=True)
            return None
        return self.text(entry["type"], (*loc, "type"))

    def unknown_type(self, code: str, what: str, name: str, loc: Loc, names: Iterable[str], hint: str) -> None:
        """Note a type that is in no registry."""
        if _DOTTED.match(name):
            message = f"{what} is named by its registered name, not by a place in code: {name}"
            self.problems.add("OL114", message, loc, hint)
            return
        near = did_you_mean(name, names)
        self.problems.add(code, f"there is no {what} of type {name!r}", loc, near or hint)

    # -- sections ----------------------------------------------------------------------------------

    def _unknown_keys(self) -> None:
        from olive_like.workflow.schema import top_level_keys

        known = top_level_keys()
        for key in self.tree:
            if key not in known:
                self.problems.add("OL101", f"unknown key `{key}`", (key,), did_you_mean(key, known), key=True)

    def _settings(self) -> None:
        from olive_like.workflow.schema import Settings

        given = {key: self.tree[key] for key in Settings.model_fields if self.tree.get(key) is not None}
        built = self.build(Settings, given, ())
        self.values.update((key, getattr(built, key)) for key in given if built is not None)

    def _input_model(self) -> None:
        self.values["input_model"] = self._model(self.tree.get("input_model"), ("input_model",))

    def _model(self, value: Any, loc: Loc) -> Any:
        from olive_like.workflow.models import MODELS, CompositeModel, InputModel, model_class

        if isinstance(value, InputModel):
            return value
        entry = self.mapping(value, loc)
        if entry is None:
            return None
        kind = self.type_of(entry, loc, "a model")
        if kind is None:
            return None
        cls = model_class(kind)
        if cls is None:
            self.unknown_type("OL109", "model", kind, (*loc, "type"), MODELS, "There is " + ", ".join(MODELS) + ".")
            return None
        settings = {key: item for key, item in entry.items() if key not in ("type", "config")}
        self.nested(entry, settings, loc)
        if cls is CompositeModel and isinstance(settings.get("model_components"), list):
            where = (*loc, "model_components")
            parts = [self._model(part, (*where, i)) for i, part in enumerate(settings["model_components"])]
            settings["model_components"] = [part for part in parts if part is not None] or settings["model_components"]
            if any(part is None for part in parts):
                return None
        return self.build(cls, settings, loc, ("type",))

    def nested(self, entry: dict[str, Any], settings: dict[str, Any], loc: Loc) -> None:
        """Add the settings under `config:` to those beside it."""
        inner = self.mapping(entry.get("config"), (*loc, "config"))
        for key, item in (inner or {}).items():
            if key in settings:
                self.problems.add(
                    "OL005", f"`{key}` stands both beside and in `config`", (*loc, "config", key), key=True
                )
            settings[key] = item

    def _data_configs(self) -> None:
        found: dict[str, Any] = {}
        self.values["data_configs"] = found
        if not self.tree.get("data_configs"):
            return
        from olive_like.data.config import DataConfig

        for name, value, loc in self._named("data_configs"):
            if isinstance(value, DataConfig):
                found[name] = value.model_copy(update={"name": name})
                continue
            entry = self.mapping(value, loc)
            if entry is None:
                continue
            built = self.build(DataConfig, {**entry, "name": name}, loc)
            found[name] = built

    def _named(self, section: str) -> Iterator[tuple[str, Any, Loc]]:
        """The entries of a section that is a mapping, or a list of mappings with a `name` each."""
        value = self.tree.get(section)
        if isinstance(value, (list, tuple)):
            first: dict[str, int] = {}
            for index, item in enumerate(value):
                loc: Loc = (section, index)
                name = item.get("name") if isinstance(item, dict) else getattr(item, "name", None)
                if not isinstance(name, str) or not name:
                    self.problems.add("OL102", f"an entry of `{section}` needs a `name`", loc)
                elif name in first:
                    message = f"two entries of `{section}` are called {name!r}"
                    self.problems.add("OL113", message, (*loc, "name"), f"The other is number {first[name] + 1}.")
                else:
                    first[name] = index
                    self.check_name(name, (*loc, "name"))
                    yield name, item, loc
            return
        for name, item in (self.mapping(value, (section,)) or {}).items():
            self.check_name(name, (section, name))
            other = item.get("name") if isinstance(item, dict) else None
            if other is not None and other != name:
                message = f"the entry {name!r} calls itself {shown(other)}"
                self.problems.add("OL106", message, (section, name, "name"), "Leave out its `name`.")
            yield name, item, (section, name)

    def _systems(self) -> None:
        found: dict[str, Any] = {}
        self.values["systems"] = found
        if not self.tree.get("systems"):
            return
        from olive_like.plugins import Broken
        from olive_like.systems import registry
        from olive_like.workflow.entries import SystemEntry

        for name, value, loc in self._named("systems"):
            found[name] = value if isinstance(value, SystemEntry) else None
            entry = self.mapping(value, loc) if found[name] is None else None
            if entry is None:
                continue
            kind = self.type_of(entry, loc, "a system")
            if kind is None:
                continue
            try:
                cls = registry.load(kind)
            except Broken as broken:
                self.problems.add("OL108", broken.message, (*loc, "type"), broken.hint)
                continue
            except registry.UnknownSystem:
                hint = "`olive-like systems` lists them."
                self.unknown_type("OL108", "system", kind, (*loc, "type"), registry.names(), hint)
                continue
            settings = {key: item for key, item in entry.items() if key not in ("type", "config", "name")}
            self.nested(entry, settings, loc)
            config = self.build(cls.Config, settings, loc, ("type",))
            if config is not None:
                found[name] = SystemEntry(name, registry.entry(kind).name, cls, config)

    def _evaluators(self) -> None:
        found: dict[str, Any] = {}
        for name, value, loc in self._named("evaluators"):
            found[name] = self.evaluator(value, loc)
        self.values["evaluators"] = found

    def evaluator(self, value: Any, loc: Loc) -> Any:
        """An evaluator written in place."""
        from olive_like.metrics.config import Evaluator

        if isinstance(value, Evaluator):
            return value
        entry = self.mapping(value, loc)
        if entry is None or not self._known_metrics(entry, loc):
            return None
        found = self.build(Evaluator, entry, loc)
        named = [
            self.refer("data_configs", metric.data_config, (*loc, "metrics", index, "data_config"))
            for index, metric in enumerate(found.metrics if found is not None else ())
            if isinstance(metric.data_config, str)
        ]
        return found if all(named) else None

    def _known_metrics(self, entry: dict[str, Any], loc: Loc) -> bool:
        """Whether all metrics, and their values, are among those that there are."""
        from olive_like.metrics.catalog import names, shorthand, values_of

        found = True
        metrics = entry.get("metrics")
        taken: set[str] = set()
        for index, metric in enumerate(metrics if isinstance(metrics, (list, tuple)) else ()):
            where = (*loc, "metrics", index)
            called = metric.get("name") if isinstance(metric, dict) else metric
            if isinstance(called, str) and called in taken:
                hint = "Values are told apart by the names of their metrics: rename one."
                self.problems.add("OL113", f"two metrics are called {called!r}", where, hint)
                found = False
            taken.add(called if isinstance(called, str) else "")
            if isinstance(metric, str) and shorthand(metric) is None:
                near = did_you_mean(metric, names()) or "docs/measure.md has them all."
                self.problems.add("OL501", f"there is no metric {metric!r}", where, near)
                found = False
            if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
                continue
            known = values_of(metric["type"])
            own = isinstance(metric.get("user_config"), dict) and metric["user_config"].get("metric_func")
            values = metric.get("sub_types")
            for number, value in enumerate(values if known and not own and isinstance(values, (list, tuple)) else ()):
                name = value.get("name") if isinstance(value, dict) else None
                if isinstance(name, str) and name not in known:
                    near = did_you_mean(name, known) or f"There are: {', '.join(known)}."
                    message = f"{metric['type']} has no value {name!r}"
                    self.problems.add("OL501", message, (*where, "sub_types", number, "name"), near)
                    found = False
        return found

    def _search(self) -> None:
        value = self.tree.get("search_strategy")
        if value is None or value is False:
            return
        from olive_like.workflow.search import SearchStrategy

        if isinstance(value, SearchStrategy):
            self.values["search_strategy"] = value
            return
        entry = {} if value is True else self.mapping(value, ("search_strategy",))
        if entry is not None:
            self.values["search_strategy"] = self.build(SearchStrategy, entry, ("search_strategy",))

    def _outputs(self) -> None:
        value = self.tree.get("outputs")
        if value is None:
            return
        pairs: list[tuple[Any, Any, Loc]]
        if isinstance(value, (list, tuple)):
            pairs = [(item, item, ("outputs", index)) for index, item in enumerate(value)]
        else:
            entry = {value: value} if isinstance(value, str) else self.mapping(value, ("outputs",))
            pairs = [(name, item, ("outputs", name)) for name, item in (entry or {}).items()]
        outputs: dict[str, str] = {}
        for name, item, loc in pairs:
            target = self.text(item, loc)
            if target is None:
                continue
            if name != item:
                self.check_name(name, loc)
            if name in outputs:
                self.problems.add("OL113", f"the output {name!r} is named twice", loc, "Leave one of them out.")
            passes = self.values["passes"]
            if target not in passes and not (target == "input_model" and self.values["input_model"]):
                self.problems.add("OL110", f"there is no pass {target!r}", loc, did_you_mean(target, passes))
            else:
                outputs[name] = target
        if len(outputs) == len(pairs):
            self.values["outputs"] = outputs

    # -- names -------------------------------------------------------------------------------------

    def refer(self, section: str, name: str, loc: Loc) -> bool:
        """Whether a name refers to something that can be used; note one that refers to nothing."""
        known = self.values.get(section) or {}
        if name in known:
            return known[name] is not None
        what = {"systems": "system", "evaluators": "evaluator", "data_configs": "data set"}[section]
        types = _system_types() if section == "systems" else []
        if name.lower() in {known.lower() for known in types}:
            return True
        hint = (
            did_you_mean(name, [*known, *types])
            or f"`{section}:` has {'no entries' if not known else 'no such entry'}."
        )
        self.problems.add("OL110", f"there is no {what} {name!r}", loc, hint)
        return False

    def _references(self) -> None:
        if self.values.get("system"):
            self.refer("systems", self.values["system"], ("system",))
        if self.values.get("evaluator") and not self.refer("evaluators", self.values["evaluator"], ("evaluator",)):
            del self.values["evaluator"]


def _space_on(settings: Any, path: Loc) -> Loc | None:
    """The part of a path that leads to a space to search, if one stands on the way."""
    from olive_like.workflow.spaces import is_space

    for length, part in enumerate(path, 1):
        if isinstance(settings, dict):
            settings = settings.get(str(part))
        elif isinstance(settings, (list, tuple)) and isinstance(part, int) and part < len(settings):
            settings = settings[part]
        else:
            return None
        if is_space(settings):
            return path[:length]
    return None


def _system_types() -> list[str]:
    """A system may be named by its type where no settings are needed."""
    from olive_like.systems import registry

    return [*registry.SYSTEMS, *registry.ALIASES]
