"""Looser files: settings of training and of a search at the top, and a data set that nobody names."""

from __future__ import annotations

from collections.abc import Iterator

from olive_like.passes.base import Pass
from olive_like.workflow.builder import copied
from olive_like.workflow.dialects.passes import class_of, each_pass, names_of, settings_of
from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.dialects.signs import unnamed_data_set
from olive_like.workflow.dialects.tree import take
from olive_like.workflow.located import LocatedDict

# What people call a setting where its own name is another.
_NAMES = {"rank": "r", "lr": "learning_rate", "epochs": "num_train_epochs"}


def translate_loose(tree: LocatedDict, report: Report) -> None:
    """Give what stands at the top to the passes that it is for."""
    if isinstance(tree.get("training_config"), LocatedDict):
        _training(tree, report)
    if isinstance(tree.get("search_space"), LocatedDict):
        _search_space(tree, report)
    _train_data(tree, report)


def _training(tree: LocatedDict, report: Report) -> None:
    settings: LocatedDict = tree["training_config"]
    trained = [step for _, step, cls in _known(tree) if names_of(cls, "train_data_config")]
    if not trained:
        report.add(
            "OL308",
            "training_config is for passes that train, and the workflow has none",
            at_key(tree, "training_config"),
            "training_config",
            "Add one, such as `lora: {type: LoRA}`.",
        )
    for step in trained:
        for key in settings:
            if not any(key in holder for holder in _holders(step)):
                _copy(settings, key, settings_of(step)[-1], key)
    take(tree, "training_config")


def _search_space(tree: LocatedDict, report: Report) -> None:
    spaces: LocatedDict = tree["search_space"]
    mark = at_key(tree, "search_space")
    steps = list(_known(tree))
    if not steps:
        report.add(
            "OL307",
            "search_space is for settings of passes, and the workflow has none that are known",
            mark,
            "search_space",
            "Add one, such as `lora: {type: LoRA}`.",
        )
    for key in spaces if steps else ():
        found = [_open(step, cls, key, spaces) for _, step, cls in steps]  # in all passes, not in the first alone
        if True not in found:
            report.add(
                "OL307",
                f"no pass has a setting {key} to search",
                at_key(spaces, key),
                f"search_space.{key}",
                "Name the setting as the pass does: `olive-like passes NAME` lists them.",
            )
    take(tree, "search_space")
    if "search_strategy" not in tree:
        tree.put("search_strategy", LocatedDict(mark=mark), mark, mark)


def _open(step: LocatedDict, cls: type[Pass], key: str, spaces: LocatedDict) -> bool:
    """Put a space in place of a setting of a pass, if the pass has one of that name."""
    for wanted in (key, _NAMES.get(key, key)):
        names = names_of(cls, wanted)
        for holder in _holders(step):
            for name in names:
                if name in holder:
                    _copy(spaces, key, holder, name)
                    return True
        if names:
            _copy(spaces, key, settings_of(step)[-1], wanted)
            return True
    return False


def _train_data(tree: LocatedDict, report: Report) -> None:
    """Passes that train and name no data take the one data set that there is, if nothing else does."""
    name = unnamed_data_set(tree)
    if name is None:
        return
    for field, step, cls in _known(tree):
        if names_of(cls, "train_data_config"):
            settings_of(step)[-1].put("train_data_config", name, step.mark, at_key(tree, "data_configs"))
            report.add(
                "OL350",
                f"no data is named for {field.removeprefix('passes.')}: it trains on {name}, the only data set",
                at_key(step, "type"),
                f"{field}.train_data_config",
                f"Write `train_data_config: {name}`.",
            )


def _known(tree: LocatedDict) -> Iterator[tuple[str, LocatedDict, type[Pass]]]:
    """The passes whose class there is."""
    for field, step in each_pass(tree):
        cls = class_of(step)
        if cls is not None:
            yield field, step, cls


def _holders(step: LocatedDict) -> Iterator[LocatedDict]:
    """Wherever a setting of a pass may stand."""
    for settings in settings_of(step):
        yield settings
        if isinstance(settings.get("training_args"), LocatedDict):
            yield settings["training_args"]


def _copy(source: LocatedDict, key: str, target: LocatedDict, name: str) -> None:
    target.put(name, copied(source[key]), source.keys_at.get(key), source.values_at.get(key))
