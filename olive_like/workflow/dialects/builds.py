"""`builds`: several pipelines over the passes of one file become branches of one graph."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.builder import copied
from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.systems import name_in_place
from olive_like.workflow.dialects.toplevel import is_empty
from olive_like.workflow.dialects.tree import rename, take
from olive_like.workflow.located import LocatedDict, LocatedList

_DEFAULT = "_default"
_OURS = ("pipeline", "system", "evaluator", "output_dir")
_OTHERS = {
    "components": "Bring the components as input models of their own.",
    "search_strategy": "Write search_strategy at the top: it is for the whole file.",
}


def translate_builds(tree: LocatedDict, report: Report) -> None:
    """Replace `builds` by `input`s and `outputs`."""
    builds = tree.get("builds")
    if builds is None:
        take(tree, "builds")
        return
    passes = tree.get("passes")
    if not isinstance(builds, LocatedDict) or not isinstance(passes, LocatedDict):
        report.add("OL309", "builds is a mapping from names to pipelines of passes", at_key(tree, "builds"), "builds")
        take(tree, "builds")
        return
    _Branches(tree, passes, builds, report).grow()


class _Branches:
    """The graph that the builds describe, grown one pipeline after the other."""

    def __init__(self, tree: LocatedDict, passes: LocatedDict, builds: LocatedDict, report: Report) -> None:
        self.tree, self.passes, self.builds, self.report = tree, passes, builds, report
        self.steps = LocatedDict(mark=passes.mark)
        self.outputs = LocatedDict(mark=builds.mark)
        self.names: dict[tuple[Any, ...], str] = {}  # what leads to a step -> its name

    def grow(self) -> None:
        defaults = self.builds.get(_DEFAULT)
        for name, build in self.builds.items():
            if not isinstance(build, LocatedDict):
                self.report.add(
                    "OL309",
                    f"the build {name} is no mapping with a pipeline",
                    at_value(self.builds, name),
                    f"builds.{name}",
                    f"Write `{name}: {{pipeline: [...]}}`.",
                )
            elif name != _DEFAULT:
                self._build(name, self._with(name, build, defaults), f"builds.{name}")
        for name in self.passes:
            if name not in {path[-1] for path in self.names}:
                self.report.add(
                    "OL350",
                    f"the pass {name} is in no build: it is left out",
                    at_key(self.passes, name),
                    f"passes.{name}",
                    "Add it to a pipeline.",
                )
        mark = at_key(self.tree, "builds")
        take(self.tree, "builds")
        self.tree.put("passes", self.steps, at_key(self.tree, "passes"), self.passes.mark)
        if "outputs" not in self.tree:
            self.tree.put("outputs", self.outputs, mark, self.builds.mark)

    def _with(self, name: str, build: LocatedDict, defaults: Any) -> LocatedDict:
        """A build with the settings that all builds share filled in."""
        merged: LocatedDict = copied(build)
        for key, value in defaults.items() if isinstance(defaults, LocatedDict) else ():
            if key not in merged:
                merged.put(key, copied(value), defaults.keys_at.get(key), defaults.values_at.get(key))
        if merged.get("host") is not None and merged.get("target") not in (None, merged["host"]):
            self.report.add(
                "OL352",
                "the passes of this build run on its host; nothing is run on its target, whose devices are not used",
                at_key(merged, "target"),
                f"builds.{name}.target",
                "Write the target's accelerators under the host.",
            )
        if merged.get("host") is not None:
            take(merged, "target")
        rename(merged, {"host": "system", "target": "system"})
        return merged

    def _build(self, name: str, build: LocatedDict, field: str) -> None:
        pipeline = build.get("pipeline")
        if not isinstance(pipeline, LocatedList) or not pipeline:
            self.report.add(
                "OL309", f"the build {name} has no pipeline", build.mark, field, "List the passes in order."
            )
            return
        self._refuse(name, build, field)
        if isinstance(build.get("system"), LocatedDict):
            name_in_place(self.tree, build, "system", name)
        path: tuple[Any, ...] = ()
        before = "input_model"
        for index, step in enumerate(pipeline):
            mark = pipeline.items_at[index] if index < len(pipeline.items_at) else pipeline.mark
            if not isinstance(step, str) or step not in self.passes:
                self.report.add(
                    "OL309",
                    f"the build {name} names the pass {step}, and there is none of that name",
                    mark,
                    f"{field}.pipeline[{index}]",
                )
                return
            last = index == len(pipeline) - 1
            evaluator = build.get("evaluator") if last else None
            path = (*path, str(build.get("system")), str(evaluator), step)
            before = self._step(path, step, before, name, build, evaluator)
        self.outputs.put(name, before, at_key(self.builds, name), at_key(self.builds, name))

    def _step(
        self, path: tuple[Any, ...], step: str, before: str, build_name: str, build: LocatedDict, evaluator: Any
    ) -> str:
        """The node for a step of a pipeline; the one that another build has where all before it is the same."""
        if path in self.names:
            return self.names[path]
        name = step if step not in self.steps else f"{step}_{build_name}"
        while name in self.steps or (name != step and name in self.passes):
            name += "_"
        self.names[path] = name
        entry = copied(self.passes[step])
        for item in entry if isinstance(entry, LocatedList) else [entry]:
            if isinstance(item, LocatedDict):
                item.put("input", before, None, at_key(self.passes, step))
                if build.get("system") is not None and "system" not in item and "host" not in item:
                    item.put("system", build["system"], at_key(build, "system"), at_value(build, "system"))
                if evaluator is not None and "evaluator" not in item:
                    item.put("evaluator", evaluator, at_key(build, "evaluator"), at_value(build, "evaluator"))
        self.steps.put(name, entry, at_key(self.passes, step), self.passes.values_at.get(step))
        return name

    def _refuse(self, name: str, build: LocatedDict, field: str) -> None:
        """Name what a build asks for beyond its passes."""
        if "output_dir" in build:
            self.report.add(
                "OL352",
                f"the build {name} is written to output_dir/{name}, wherever its own output_dir is",
                at_key(build, "output_dir"),
                f"{field}.output_dir",
            )
        for key in build:
            if key not in _OURS and not is_empty(build[key]):
                self.report.add(
                    "OL309",
                    f"build setting not available: {key}",
                    at_key(build, key),
                    f"{field}.{key}",
                    _OTHERS.get(key, ""),
                )
