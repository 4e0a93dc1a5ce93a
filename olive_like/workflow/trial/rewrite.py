"""Rewrites a workflow's tree for a trial; every change is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from olive_like.metrics.catalog import DEFAULTS
from olive_like.workflow.dialects.passes import class_of, each_pass, names_of, settings_of
from olive_like.workflow.dialects.tree import entries, take
from olive_like.workflow.located import LocatedDict, LocatedList
from olive_like.workflow.models import local_path
from olive_like.workflow.trial.rows import made_up_recordings, made_up_rows

# (hub name or local folder, task) -> folder of a tiny model of that architecture
MakeTiny = Callable[[str, "str | None"], Path]

_ROWS = 8
_TOKENS = 64
_TRIALS = 3
_SECONDS, _CALLS = 0.5, 5
# Settings of passes that say how much work is done: what a trial allows at most.
_AT_MOST = {
    "calibration_samples": _ROWS,
    "calibration_nsamples": _ROWS,
    "calibration_batch_size": 2,
}
_STEPS = 2
_TRAINING = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "gradient_accumulation_steps": 1}
_TIMES = ("latency", "throughput")
_HARNESSES = ("lm_eval", "mteb")
_DATA = ("source", "files", "rows", "dummy", "load_function", "dataloader_function")


class Trial:
    """Puts small things in the place of large ones; `said` tells which."""

    def __init__(self, tiny: MakeTiny, files: Path, base_dir: Path) -> None:
        self._tiny = tiny
        self._files = files
        self._base = base_dir
        self.said: list[str] = []

    def __call__(self, tree: LocatedDict) -> None:
        self.said.clear()  # a tree may have to be read twice
        self._replaced = False  # whether a tiny model stands for the workflow's own
        self._model(tree.get("input_model"))
        self._systems(tree)
        for _, step in each_pass(tree):
            self._pass(step)
        task = tree["input_model"].get("task") if isinstance(tree.get("input_model"), LocatedDict) else None
        for config in _data_sets(tree):
            self._data(config, task)
        for holder in _evaluators(tree):
            self._evaluator(holder)
        _forget_empty(tree)
        strategy = tree.get("search_strategy")
        if isinstance(strategy, LocatedDict):
            strategy["max_samples"] = min(_number(strategy.get("max_samples"), _TRIALS), _TRIALS)
        # Not over what the workflow itself makes.
        tree["output_dir"] = trial_folder(str(tree.get("output_dir") or "outputs"))

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.append(text)

    def _model(self, model: Any) -> None:
        if not isinstance(model, LocatedDict):
            return
        for component in model.get("model_components") or ():
            self._model(component)
        name, kind = model.get("model_path"), str(model.get("type", "")).lower()
        if not isinstance(name, str) or kind not in ("hfmodel", "pytorchmodel"):
            return
        there = local_path(name, self._base)
        if kind == "pytorchmodel" and there is None:
            return  # a name that only the user's script understands
        model["model_path"] = str(self._tiny(str(there) if there and there.is_dir() else name, model.get("task")))
        take(model, "revision")
        self._replaced = True
        self._say(f"a tiny model with random weights in place of {name}")
        self._without_adapter(model, "adapter_path")

    def _without_adapter(self, holder: LocatedDict, key: str) -> None:
        adapter = take(holder, key)
        if adapter is not None:
            self._say(f"the adapter {adapter} is left out, as it does not fit a tiny model")

    def _systems(self, tree: LocatedDict) -> None:
        """Passes run on this machine's processor; what models are made for otherwise is put aside."""
        for _, system in entries(tree.get("systems")):
            for accelerator in system.get("accelerators") or ():
                if isinstance(accelerator, dict):
                    wanted = [str(name) for name in accelerator.get("execution_providers") or ()]
                    wanted = wanted or [str(accelerator.get("device", "cpu"))]
                    if not all("cpu" in name.lower() for name in wanted):
                        self._say(f"this machine's processor in place of {', '.join(wanted)}")
        for name in ("systems", "system", "host", "target"):
            take(tree, name)
        for _, step in each_pass(tree):
            for name in ("system", "host"):
                take(step, name)

    def _pass(self, step: LocatedDict) -> None:
        settings = step.get("config")
        if _writes_its_text(step):
            data = LocatedDict({"max_samples": _ROWS})
            data["rows"] = made_up_rows(data, None, _ROWS, self._files)
            step["data_config"] = data
            self._say(f"{_ROWS} made-up rows in place of text that the model itself would write")
        for holder in (step, settings):
            if not isinstance(holder, LocatedDict):
                continue
            for name, most in _AT_MOST.items():
                if name in holder:
                    holder[name] = _least(holder[name], most)
        self._training(step)

    def _training(self, step: LocatedDict) -> None:
        """Settings of training stand flat, or under `training_args`, which some passes know alone."""
        cls = class_of(step)
        if cls is None:
            return
        fields, settings = cls.Config.model_fields, settings_of(step)
        holders = settings if "max_steps" in fields else []
        if not holders and "training_args" in fields and all(one.get("training_args") is None for one in settings):
            settings[-1]["training_args"] = LocatedDict()
        nested = [one.get("training_args") for one in settings]
        holders = [*holders, *(arguments for arguments in nested if isinstance(arguments, LocatedDict))]
        for holder in holders:
            for name, most in _TRAINING.items():
                for written in names_of(cls, name) or [name]:
                    if written in holder:
                        holder[written] = _least(holder[written], most)
            for name in ("max_steps", "num_train_epochs", "eval_steps", "save_steps", "warmup_steps"):
                take(holder, name)
            if self._replaced:
                self._without_adapter(holder, "init_adapter")
        if holders:
            holders[-1]["max_steps"] = _STEPS
            self._say(f"training stops after {_STEPS} steps")

    def _data(self, config: LocatedDict, task: Any) -> None:
        if isinstance(config.get("dummy"), LocatedDict):
            dummy = config["dummy"]
            dummy["max_samples"] = min(_number(dummy.get("max_samples"), 4), 4)
            return
        config["max_samples"] = min(_number(config.get("max_samples"), _ROWS), _ROWS)
        if config.get("strategy") == "join" or config.get("packing"):
            config["max_seq_len"] = min(_number(config.get("max_seq_len"), _TOKENS), _TOKENS)
            take(config, "max_examples")
        source = config.get("source") or config.get("data_name")
        if not isinstance(source, str) or local_path(source, self._base) is not None:
            return
        for name in ("source", "data_name", "subset", "files", "data_files", "split", "eval_split", "format"):
            take(config, name)
        if "audio" in config:
            config["source"] = str(made_up_recordings(config, _ROWS, self._files))
        else:
            config["rows"] = made_up_rows(config, task, _ROWS, self._files)
        self._say(f"{_ROWS} made-up rows in place of {source}")

    def _evaluator(self, evaluator: LocatedDict) -> None:
        metrics = evaluator.get("metrics")
        if not isinstance(metrics, list):
            return
        harness = [m for m in metrics if isinstance(m, dict) and m.get("type") in _HARNESSES]
        for metric in harness:
            tasks = ", ".join(str(t if isinstance(t, str) else t.get("task", "")) for t in metric.get("tasks") or ())
            self._say(f"not measured: {metric['type']} on {tasks}, whose questions are on the hub")
        kept = [_shorter(metric) for metric in metrics if metric not in harness]
        metrics[:] = kept
        for metric in kept:
            own = metric.get("user_config") if isinstance(metric, dict) else None
            if isinstance(own, LocatedDict) and take(own, "inference_settings") is not None:
                self._say("session settings of metrics are put aside, as they are for another device")
            for value in (metric.get("sub_types") or ()) if isinstance(metric, dict) else ():
                if isinstance(value, LocatedDict) and take(value, "goal") is not None:
                    self._say("goals are not held against a model with random weights")


def trial_folder(folder: str) -> str:
    """The folder that a trial's results go to, where those of the workflow itself go to `folder`."""
    path = Path(folder)
    return f"{path}-test" if path.name not in ("", "..") else str(path / "outputs-test")


def _writes_its_text(step: LocatedDict) -> bool:
    """Whether a pass is to be calibrated and is given nothing for it, which takes longer than all the rest."""
    cls = class_of(step)
    if cls is None or not cls.data_pass or "data_config" not in cls.Config.model_fields:
        return False
    return all(settings.get("data_config") is None for settings in settings_of(step))


def _data_sets(tree: LocatedDict) -> Iterator[LocatedDict]:
    """The data sets of a workflow, those that are written in place too."""
    yield from (config for _, config in entries(tree.get("data_configs")))
    yield from _in_place([tree.get("passes"), tree.get("evaluators")])


def _in_place(value: Any) -> Iterator[LocatedDict]:
    if isinstance(value, list):
        for item in value:
            yield from _in_place(item)
    elif isinstance(value, LocatedDict):
        for key, item in value.items():
            if "data" in key and isinstance(item, LocatedDict) and any(name in item for name in _DATA):
                yield item
            else:
                yield from _in_place(item)


def _evaluators(tree: LocatedDict) -> Iterator[LocatedDict]:
    yield from (evaluator for _, evaluator in entries(tree.get("evaluators")))
    for holder in (tree, *(step for _, step in each_pass(tree))):
        if isinstance(holder.get("evaluator"), LocatedDict):
            yield holder["evaluator"]


def _shorter(metric: Any) -> Any:
    """Times of a tiny model mean nothing: they need not settle."""
    if isinstance(metric, str) and metric in _TIMES:
        metric = LocatedDict({"name": metric, "type": metric})
    if not isinstance(metric, LocatedDict) or metric.get("type") not in _TIMES:
        return metric
    if not metric.get("sub_types"):
        metric["sub_types"] = LocatedList([LocatedDict({"name": DEFAULTS[metric["type"]]})])
    for value in metric["sub_types"]:
        if isinstance(value, LocatedDict):
            settings = value.get("metric_config")
            settings = settings if isinstance(settings, LocatedDict) else LocatedDict()
            settings["max_seconds"] = _SECONDS
            settings["repeat_test_num"] = min(_number(settings.get("repeat_test_num"), _CALLS), _CALLS)
            value["metric_config"] = settings
    return metric


def _forget_empty(tree: LocatedDict) -> None:
    """Evaluators that have nothing left to measure are not asked for."""
    evaluators = tree.get("evaluators")
    empty = {name for name, evaluator in entries(evaluators) if evaluator.get("metrics") == []}
    for holder in (tree, *(step for _, step in each_pass(tree))):
        asked = holder.get("evaluator")
        if asked in empty if isinstance(asked, str) else isinstance(asked, dict) and asked.get("metrics") == []:
            take(holder, "evaluator")
    if "evaluator" not in tree:
        take(tree, "evaluate_input_model")


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _least(value: Any, most: int) -> Any:
    """The number, or the most that a trial allows; a space, or what is wrong, stays as it is."""
    return min(value, most) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
