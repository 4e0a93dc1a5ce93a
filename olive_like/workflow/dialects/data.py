"""Data sets in parts (load, pre-process, post-process, data loader) become flat ones."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.tree import lift, take, without_effect
from olive_like.workflow.located import LocatedDict

PARTS = ("load_dataset_config", "pre_process_data_config", "post_process_data_config", "dataloader_config")

# container -> the loader that it stands for when none is named
CONTAINER_NAMES = {
    "DataContainer": None,
    "RawDataContainer": "raw_dataset",
    "DummyDataContainer": "dummy_dataset",
    "TransformersDummyDataContainer": "transformers_dummy_dataset",
    "TransformersPromptDummyDataContainer": "transformers_prompt_dummy_dataset",
    "TransformersTokenDummyDataContainer": "transformers_token_dummy_dataset",
    "HuggingfaceContainer": "huggingface_dataset",
    "ImageDataContainer": "image_folder_dataset",
}
_CONTAINERS = {name.lower(): loader for name, loader in CONTAINER_NAMES.items()}
_DUMMY = {
    "dummy_dataset": False,
    "transformers_dummy_dataset": False,
    "transformers_token_dummy_dataset": False,
    "transformers_prompt_dummy_dataset": True,  # a prompt with an empty cache
}
_PLACEHOLDERS = ("local_dataset", "simple_dataset")  # the user's data loader brings the rows
_HUB = {
    "data_name": "source",
    "path": "source",
    "subset": "subset",
    "name": "subset",
    "split": "split",
    "data_files": "files",
    "trust_remote_code": "trust_remote_code",
    "max_samples": "max_samples",
}
_TEXT = {
    "input_cols": "input_cols",
    "label_cols": "label_cols",
    "label_col": "label_cols",
    "max_length": "max_seq_len",
    "max_seq_len": "max_seq_len",
    "max_samples": "max_samples",
    "padding": "padding",
    "strategy": "strategy",
    "joiner": "joiner",
    "add_special_tokens": "add_special_tokens",
    "text_template": "text_template",
    "text_cols": "text_field",
    "text_field": "text_field",
    "chat_template": "chat_template",
    "trust_remote_code": "trust_remote_code",
    "limit": "max_samples",
}
_AUDIO = ("audio_col", "text_col", "sample_rate", "max_duration")
_IMAGE = ("image_col", "question_col", "answer_col")
_BUILT_IN_PRE = {
    "pre_process": "",
    "skip_pre_process": "",
    "huggingface_pre_process": "text",
    "text_generation_huggingface_pre_process": "text",
    "ner_huggingface_preprocess": "token_classification",
    "ner_huggingface_pre_process": "token_classification",
    "speech_transcription_pre_process": "audio",
    "audio_classification_pre_process": "audio",
    "vision_vqa_pre_process": "image",
}
_BUILT_IN_POST = (
    "post_process",
    "skip_post_process",
    "text_classification_post_process",
    "text_generation_post_process",
    "ner_post_process",
)
_LOADERS = ("default_dataloader", "default_calibration_dataloader")


def is_nested(config: LocatedDict) -> bool:
    """Whether a data set is written in parts."""
    return "type" in config or any(part in config for part in PARTS)


def translate_data(config: LocatedDict, report: Report, field: str) -> None:
    """Flatten one data set in place."""
    if not is_nested(config):
        return
    _Data(config, report, field).translate()


class _Data:
    """One data set on its way from parts to flat settings."""

    def __init__(self, config: LocatedDict, report: Report, field: str) -> None:
        self.config = config
        self.report = report
        self.field = field
        # What is flat and has no place comes from the command line: it replaces what the parts say.
        self.set = {key for key in config if key not in config.keys_at} if config.keys_at else set()

    def translate(self) -> None:
        container = self._container()
        self._load(self._part("load_dataset_config"), container)
        self._pre_process(self._part("pre_process_data_config"))
        self._post_process(self._part("post_process_data_config"))
        self._dataloader(self._part("dataloader_config"))

    def _container(self) -> str | None:
        """The loader that the container's type stands for."""
        if "type" not in self.config:
            return None
        mark, name = at_value(self.config, "type"), take(self.config, "type")
        if name is None:
            return None
        if str(name).lower() not in _CONTAINERS:
            self.report.add(
                "OL304",
                f"data container not available: {name}",
                mark,
                f"{self.field}.type",
                "Write the data set flat, or with load_function and user_script.",
            )
            return None
        return _CONTAINERS[str(name).lower()]

    def _part(self, name: str) -> LocatedDict:
        """A part with its `params` on one level; empty where there is none."""
        part = self.config.get(name)
        if part is None or not isinstance(part, LocatedDict):
            if part is None:
                take(self.config, name)
            return LocatedDict()
        if part.mark is None:
            part.mark = at_key(self.config, name)
        take(self.config, name)
        for key in ("params", "config", "params_config"):
            if isinstance(part.get(key), LocatedDict):
                lift(part, key, self.report, f"{self.field}.{name}")
        return part

    def _type(self, part: LocatedDict) -> str | None:
        kind = take(part, "type")
        return str(kind) if kind is not None else None

    def _set(self, key: str, value: Any) -> None:
        self.config.setdefault(key, value)

    def _move(self, part: LocatedDict, names: dict[str, str], where: str) -> None:
        """Move settings over; the same one in two parts with two values is an error."""
        for old, new in names.items():
            if old not in part:
                continue
            if part[old] is None or new in self.set:
                take(part, old)
            elif new not in self.config:
                part.move(old, self.config, new)
            elif new in ("max_samples", "max_seq_len") and type(part[old]) is type(self.config[new]) is int:
                self.config[new] = min(self.config[new], part[old])
                take(part, old)
            elif self.config[new] == part[old] or new == "trust_remote_code":
                self.config[new] = self.config[new] or part[old]
                take(part, old)
            else:
                self.report.add(
                    "OL311",
                    f"{new} is written twice, as {self.config[new]!r} and as {part[old]!r}",
                    at_key(part, old),
                    f"{self.field}.{where}.{old}",
                    "Keep one of them.",
                )
                take(part, old)

    def _rest(self, part: LocatedDict, where: str, what: str) -> None:
        """Name every setting that nothing took."""
        for key in list(part):
            self.report.add(
                "OL304",
                f"data setting not available: {key} of {what}",
                at_key(part, key),
                f"{self.field}.{where}.{key}",
                "Take it out, or do this in a user_script with load_function or process_function.",
            )

    def _function(self, part: LocatedDict, kind: str, role: str, where: str, mark: Any) -> None:
        """A name that is not built in is a function of the user's script."""
        if self.config.get("user_script") is None:
            self.report.add(
                "OL304",
                f"data component not available: {kind}",
                mark,
                f"{self.field}.{where}.type",
                f"If {kind} is a function of yours, name its file with user_script.",
            )
            return
        self.config.put(f"{role}_function", kind, mark, mark)
        if part:
            params = LocatedDict(mark=part.mark)
            for key in list(part):
                part.move(key, params)
            self.config.put(f"{role}_params", params, part.mark)

    # the four parts

    def _load(self, part: LocatedDict, container: str | None) -> None:
        where, mark = "load_dataset_config", at_value(part, "type")
        kind = self._type(part) or container
        without_effect(part, {"streaming": "rows are read once and kept"}, self.report, f"{self.field}.{where}")
        if kind is None:
            kind = "huggingface_dataset" if {"data_name", "data_files"} & {*part, *self.config} else "simple_dataset"
        if kind == "huggingface_dataset":
            self._hub(part, where)
        elif kind in _DUMMY:
            self._dummy(part, kind)
        elif kind in _PLACEHOLDERS:
            self._move(part, {"data_dir": "source", "label_cols": "label_cols"}, where)
            self._rest(part, where, kind)
        elif kind == "image_folder_dataset":
            self._move(part, {"data_dir": "source", "max_samples": "max_samples"}, where)
            self._set("image", LocatedDict(mark=mark))
            self._rest(part, where, kind)
        elif kind == "raw_dataset":
            self.report.add(
                "OL304",
                "data component not available: raw_dataset",
                mark or part.mark,
                f"{self.field}.{where}",
                "Read the files with a load_function of your own.",
            )
        else:
            self._function(part, kind, "load", where, mark)

    def _hub(self, part: LocatedDict, where: str) -> None:
        files = part.get("data_files")
        without_split = "split" not in part and "split" not in self.config
        self._move(part, _HUB, where)
        if without_split and not isinstance(files, (str, list)) and "source" in self.config:
            # A file alone is one split, `train`; of a hub data set this dialect reads `validation`.
            self._set("split", "validation")
            self.report.add(
                "OL350",
                "no split is named: `validation` is read, as this form of a data set has it",
                part.mark or self.config.mark,
                f"{self.field}.split",
                "Write `split` to choose another.",
            )
        self._rest(part, where, "huggingface_dataset")

    def _dummy(self, part: LocatedDict, kind: str) -> None:
        where = "load_dataset_config"
        dummy = LocatedDict(mark=part.mark)
        for key in ("input_names", "input_shapes", "input_types", "max_samples", "seq_len", "past_seq_len"):
            if key in part:
                part.move(key, dummy)
        if _DUMMY[kind]:
            dummy["generate"] = True
        self._move(part, {"batch_size": "batch_size", "max_seq_len": "max_seq_len"}, where)
        self._move(part, {"trust_remote_code": "trust_remote_code"}, where)
        for key in ("model_name", "model_path", "task"):
            if key in part:
                without_effect(
                    part,
                    {key: "inputs are made for the model that they are given to"},
                    self.report,
                    f"{self.field}.{where}",
                )
        self._rest(part, where, kind)
        self.config.put("dummy", dummy, part.mark)

    def _pre_process(self, part: LocatedDict) -> None:
        where, mark = "pre_process_data_config", at_value(part, "type")
        kind = self._type(part)
        family = "text" if kind is None else _BUILT_IN_PRE.get(kind)
        if kind is not None and family is None:
            if kind == "tokenizer_pre_process":
                self.report.add(
                    "OL304",
                    f"data component not available: {kind}",
                    mark,
                    f"{self.field}.{where}.type",
                    "Text is tokenised without it: name the columns with input_cols or text_template.",
                )
                return
            self._function(part, kind, "process", where, mark)
            return
        if kind == "skip_pre_process" and "load_function" not in self.config and "dummy" not in self.config:
            self.report.add(
                "OL304",
                "data component not available: skip_pre_process for rows that no function of yours loads",
                mark,
                f"{self.field}.{where}.type",
                "Load rows that are a model's inputs already with a load_function of a user_script.",
            )
        if family == "audio":
            self._inner(part, "audio", _AUDIO, mark)
        elif family == "image":
            self._inner(part, "image", _IMAGE, mark)
            without_effect(part, {"task": "columns say what is asked"}, self.report, f"{self.field}.{where}")
        elif family == "token_classification":
            self.config.put("shape", "token_classification", mark, mark)
        self._padding(part)
        self._move(part, _TEXT, where)
        if part.get("use_attention_mask") is True:
            take(part, "use_attention_mask")
        self._strategy()
        if self.config.get("strategy") == "join" and "max_samples" in self.config:
            self.config.move("max_samples", self.config, "max_examples")  # here it counts the pieces, not the rows
        self._rest(part, where, kind or "pre-processing")

    def _inner(self, part: LocatedDict, name: str, keys: tuple[str, ...], mark: Any) -> None:
        settings = LocatedDict(mark=part.mark or mark)
        for key in keys:
            if key in part:
                part.move(key, settings)
        self.config.put(name, settings, part.mark or mark)

    def _padding(self, part: LocatedDict) -> None:
        """`true` is the longest of a batch, and so is `false` with one row in it."""
        if isinstance(part.get("padding"), bool):
            part["padding"] = "longest"

    def _strategy(self) -> None:
        strategy = self.config.get("strategy")
        if strategy not in (None, "line-by-line", "join"):
            self.report.add(
                "OL304",
                f"data strategy not available: {strategy}",
                at_value(self.config, "strategy"),
                f"{self.field}.strategy",
                "Use `line-by-line` or `join`; `shuffle: true` makes the order random.",
            )
            take(self.config, "strategy")

    def _post_process(self, part: LocatedDict) -> None:
        where, mark = "post_process_data_config", at_value(part, "type")
        kind = self._type(part)
        if kind is None or kind in _BUILT_IN_POST:
            if kind == "ner_post_process":
                self._set("shape", "token_classification")
            elif kind is not None:
                self.report.add(
                    "OL351",
                    f"{kind} has no effect here: the model's task says what its output means",
                    mark,
                    f"{self.field}.{where}.type",
                )
            self._rest(part, where, kind or "post-processing")
            return
        self._function(part, kind, "post_process", where, mark)

    def _dataloader(self, part: LocatedDict) -> None:
        where, mark = "dataloader_config", at_value(part, "type")
        kind = self._type(part)
        if kind == "no_auto_batch_dataloader":
            self.config.put("auto_batch", False, mark, mark)
            kind = None
        if kind == "dataloader_with_ignored_batch_fields":
            self.report.add(
                "OL304",
                f"data component not available: {kind}",
                mark,
                f"{self.field}.{where}.type",
                "Write a dataloader_function in a user_script.",
            )
            return
        if kind is not None and kind not in _LOADERS:
            self._function(part, kind, "dataloader", where, mark)
            return
        self._move(part, {"batch_size": "batch_size", "shuffle": "shuffle", "num_workers": "workers"}, where)
        if self.config.get("workers") == 0:
            take(self.config, "workers")
        if self.config.get("batch_size", 1) == 1 or part.get("drop_last") is False:
            without_effect(part, {"drop_last": "no batch can be short"}, self.report, f"{self.field}.{where}")
        self._rest(part, where, kind or "the data loader")
