"""Looser files: settings of training and of a search at the top, and a data set that nobody names."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from olive_like.passes.base import Pass
from olive_like.workflow.builder import copied
from olive_like.workflow.dialects.passes import class_of, each_pass, settings_of
from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.dialects.signs import unnamed_data_set
from olive_like.workflow.dialects.tree import take
from olive_like.workflow.located import LocatedDict

_TRAINING = "training_args"
# what people call a setting -> what it is called in a pass, and in its training arguments
_NAMES = {
    "lora_r": "r",
    "rank": "r",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
}


def translate_loose(tree: LocatedDict, report: Report) -> None:
    """Give what stands at the top to the passes that it is for."""
    if "training_config" in tree:
        _training(tree, report)
    if "search_space" in tree:
        _search_space(tree, report)
    _train_data(tree, report)


def _training(tree: LocatedDict, report: Report) -> None:
    settings, mark = tree["training_config"], at_key(tree, "training_config")
    if not isinstance(settings, LocatedDict):
        return
    trained = [(field, step) for field, step in each_pass(tree) if _has(class_of(step), _TRAINING)]
    if not trained and "passes" in tree:
        report.add(
            "OL308",
            "training_config is for passes that train, and the workflow has none",
            mark,
            "training_config",
            "Add one, such as `lora: {type: LoRA}`.",
        )
    for _, step in trained:
        arguments = _training_of(step, settings)
        for key, value in settings.items():
            if key not in arguments:
                arguments.put(key, copied(value), settings.keys_at.get(key), settings.values_at.get(key))
    take(tree, "training_config")


def _training_of(step: LocatedDict, near: LocatedDict) -> LocatedDict:
    """The training arguments of a pass, made where there are none."""
    for settings in settings_of(step):
        if isinstance(settings.get(_TRAINING), LocatedDict):
            arguments: LocatedDict = settings[_TRAINING]
            return arguments
    arguments = LocatedDict(mark=near.mark)
    settings_of(step)[-1].put(_TRAINING, arguments, near.mark, near.mark)
    return arguments


def _search_space(tree: LocatedDict, report: Report) -> None:
    spaces, mark = tree["search_space"], at_key(tree, "search_space")
    if not isinstance(spaces, LocatedDict):
        return
    for key, space in spaces.items():
        if not _give(tree, key, space, spaces) and "passes" in tree:
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


def _give(tree: LocatedDict, key: str, space: Any, spaces: LocatedDict) -> bool:
    """Leave the setting of that name open in every pass that has it."""
    found = False
    names = (key, _NAMES.get(key, key))
    for _, step in each_pass(tree):
        cls = class_of(step)
        for name in names:
            target = settings_of(step)[-1] if _has(cls, name) else None
            if target is None and _has(cls, _TRAINING) and _in_training(cls, name):
                target = _training_of(step, spaces)
            if target is not None:
                target.put(name, copied(space), spaces.keys_at.get(key), spaces.values_at.get(key))
                found = True
                break
    return found


def _train_data(tree: LocatedDict, report: Report) -> None:
    """Passes that train and name no data take the one data set that there is, if nothing else does."""
    name = unnamed_data_set(tree)
    if name is None:
        return
    for field, step in each_pass(tree):
        if _has(class_of(step), "train_data_config"):
            settings_of(step)[-1].put("train_data_config", name, step.mark, at_key(tree, "data_configs"))
            report.add(
                "OL350",
                f"no data is named for {field.removeprefix('passes.')}: it trains on {name}, the only data set",
                at_key(step, "type"),
                f"{field}.train_data_config",
                f"Write `train_data_config: {name}`.",
            )


def _has(cls: type[Pass] | None, name: str) -> bool:
    """Whether a pass has a setting, under its name or an alias."""
    return cls is not None and _field(cls.Config, name) is not None


def _field(model: type[BaseModel], name: str) -> Any:
    for key, info in model.model_fields.items():
        alias = info.validation_alias
        names = {key, info.alias, *(getattr(alias, "choices", None) or [alias])}
        if name in names:
            return info
    return None


def _in_training(cls: type[Pass] | None, name: str) -> bool:
    """Whether the training arguments of a pass have a setting."""
    if cls is None:
        return False
    annotation = _field(cls.Config, _TRAINING).annotation
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return _field(option, name) is not None or option.model_config.get("extra") == "allow"
    return True  # any mapping will do
