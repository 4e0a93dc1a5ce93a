"""What a workflow says about a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from olive_like.data.places import resolve, resolve_all
from olive_like.marks import NameOrFileMark, NotInKey, ScriptPath, marked_files

# One of the parts of a split that are joined by `+`.
SPLIT = re.compile(r"^\s*(?P<name>[\w.-]+)\s*(?:\[(?P<from>[^:\]]*):(?P<to>[^:\]]*)\])?\s*$")

Shape = Literal[
    "auto",
    "text",
    "template",
    "chat",
    "alpaca",
    "sharegpt",
    "prompt_completion",
    "classification",
    "token_classification",
    "preference",
    "tools",
    "question_answering",
]


def _base(info: ValidationInfo) -> Path | None:
    base = (info.context or {}).get("base_dir")
    return None if base is None else Path(base)


NameOrPath = Annotated[str, AfterValidator(lambda v, info: resolve(v, _base(info)))]
Files = Annotated[
    str | list[str] | dict[str, str | list[str]], AfterValidator(lambda v, info: resolve_all(v, _base(info)))
]


class _Settings(BaseModel):
    # Built when first used (`defer_build`): a workflow without data does not pay for it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), defer_build=True
    )


class DummyData(_Settings):
    """Made-up inputs, for calibration and timing where the content does not matter."""

    input_names: list[str] = Field([], description="Names of the inputs; empty: those that the model declares.")
    input_shapes: list[list[int]] = Field([], description="Shape of each input, batch first.")
    input_types: list[str] = Field([], description="Type of each input: float32, int64 … (default float32).")
    max_samples: int = Field(32, ge=1, description="How many examples there are.")
    seq_len: int | None = Field(None, ge=1, description="Length of made-up token sequences.")
    past_seq_len: int | None = Field(None, ge=0, description="Length of a made-up key/value cache.")
    generate: bool = Field(False, description="Inputs of a prompt, its cache empty, instead of one decoding step.")


class ImageData(_Settings):
    """How images become tensors."""

    image_col: str = Field("image", description="Column, or what is found in a folder of images.")
    size: int | list[int] | None = Field(None, description="Edge length, or [height, width].")
    crop_size: int | list[int] | None = Field(None, description="Centre crop after resizing.")
    mean: list[float] | None = Field(None, description="Mean of each channel; default: the model's processor.")
    std: list[float] | None = Field(None, description="Deviation of each channel.")
    question_col: str | None = Field(None, description="Column with a question about the image.")
    answer_col: str | None = Field(None, description="Column with the answer.")


class AudioData(_Settings):
    """How sound becomes features."""

    audio_col: str = Field("audio", description="Column with the sound.")
    text_col: str | None = Field("text", description="Column with the transcript.")
    sample_rate: int = Field(16000, ge=1, description="Samples per second, of sound that does not say it itself.")
    max_duration: float | None = Field(None, gt=0, description="Seconds after which sound is cut.")


class DataConfig(_Settings):
    """A data set: where its rows are, which of them, and how they become examples."""

    name: Annotated[str, NotInKey()] = Field("", description="The name that passes refer to it by.")

    # where
    source: Annotated[NameOrPath | None, NameOrFileMark()] = Field(
        None,
        validation_alias=AliasChoices("source", "data_name"),
        description="A local file or folder (JSON, CSV, Parquet, Arrow, text, saved data set), else a hub name.",
    )
    files: Annotated[Files | None, NameOrFileMark()] = Field(
        None,
        validation_alias=AliasChoices("files", "data_files"),
        description="Files of the source, or local files without one; a mapping gives each split its own.",
    )
    rows: list[dict[str, Any]] | None = Field(None, description="The rows themselves, instead of a source.")
    subset: str | None = Field(None, description="Configuration of a hub data set.")
    format: Literal["json", "csv", "parquet", "arrow", "text", "saved"] | None = Field(
        None, description="What the files are, where their names do not say it."
    )
    trust_remote_code: bool = Field(False, description="Let a hub data set run its own code.")

    # which rows
    split: str = Field("train", description="Which rows to use; slices are allowed: `train[:4096]`, `train[10%:20%]`.")
    eval_split: str | None = Field(None, description="Rows to evaluate on while training, written like `split`.")
    eval_fraction: float | None = Field(None, gt=0, lt=1, description="Part of the rows held out for evaluation.")
    stratify_by: str | None = Field(None, description="Hold out the same part of every value of this column.")
    max_samples: int | None = Field(None, ge=1, description="Use at most this many rows of each split.")
    max_examples: int | None = Field(
        None,
        ge=1,
        description="Keep at most this many examples of what the rows become: pieces, where they are joined.",
    )
    shuffle: bool = Field(False, description="Shuffle before rows are taken.")
    seed: int | None = Field(None, description="Seed of shuffling and holding out; default: the workflow's.")

    # what a row is
    shape: Shape = Field("auto", description="What the rows are; `auto` recognises it from the columns.")
    columns: dict[str, str] = Field({}, description="What is meant → the column's name: `{prompt: question}`.")
    text_template: str | None = Field(None, description="Text with `{column}` fields that makes one example of a row.")
    text_field: str | list[str] | None = Field(
        None, validation_alias=AliasChoices("text_field", "text_cols"), description="Column (or columns) with text."
    )
    strategy: Literal["line-by-line", "join"] = Field(
        "line-by-line", description="One example per row, or all rows joined and cut into equal pieces."
    )
    joiner: str | None = Field(None, description="Text between rows that are joined.")
    chat_template: str | bool | None = Field(
        None, description="A chat template in place of the tokenizer's; `true`: the tokenizer's, for any shape."
    )
    input_cols: list[str] | None = Field(None, description="Columns that go into the model, one text or a pair.")
    label_cols: list[str] | None = Field(
        None, validation_alias=AliasChoices("label_cols", "label_col"), description="Column (or columns) to predict."
    )
    labels: list[str] | None = Field(None, description="Names of the classes in their order.")

    # how it becomes tokens
    train_on_prompt: bool = Field(False, description="Train on every token, not on the answers alone.")
    max_seq_len: int = Field(
        1024, ge=1, validation_alias=AliasChoices("max_seq_len", "max_length"), description="Longest example in tokens."
    )
    packing: bool = Field(False, description="Fill sequences with several examples; none sees another.")
    add_special_tokens: bool | None = Field(
        None, description="Begin and end markers: added by the tokenizer, left out, or (default) there exactly once."
    )
    padding: Literal["longest", "max_length"] = Field("longest", description="Pad to the batch's longest, or to all.")
    batch_size: int = Field(1, ge=1, description="Rows per batch where a pass does not say it itself.")
    auto_batch: bool = Field(True, description="Put rows together into batches; `false`: each one is a batch already.")
    workers: Annotated[int, NotInKey()] = Field(
        1, ge=1, validation_alias=AliasChoices("workers", "num_proc"), description="Processes that prepare the rows."
    )

    # what is not text
    dummy: DummyData | None = Field(None, description="Made-up inputs instead of rows.")
    image: ImageData | None = Field(None, description="Settings of images.")
    audio: AudioData | None = Field(None, description="Settings of sound.")

    # the user's own
    user_script: ScriptPath | None = Field(None, description="Python file with the functions named below.")
    script_dir: ScriptPath | None = Field(None, description="Folder that the script imports from.")
    load_function: str | None = Field(None, description="Function that returns the rows or a data set.")
    load_params: dict[str, Any] = Field({}, description="Arguments of the load function.")
    process_function: str | None = Field(None, description="Function from the loaded data to examples.")
    process_params: dict[str, Any] = Field({}, description="Arguments of the process function.")
    post_process_function: str | None = Field(None, description="Function from a model's output to a prediction.")
    post_process_params: dict[str, Any] = Field({}, description="Arguments of the post-process function.")
    dataloader_function: str | None = Field(None, description="Function from examples to batches.")
    dataloader_params: dict[str, Any] = Field({}, description="Arguments of the data loader function.")

    @field_validator("split", "eval_split")
    @classmethod
    def _is_split(cls, written: str | None) -> str | None:
        odd = next((part for part in (written or "train").split("+") if not SPLIT.match(part)), None)
        if odd is not None:
            raise ValueError(f"{odd!r} is no split: write `train`, `train[:100]`, `train[10%:20%]` or `a+b`")
        return written

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        """One column may be written without brackets."""
        if isinstance(values, dict):
            values = dict(values)
            for key in ("input_cols", "label_cols", "label_col"):
                if isinstance(values.get(key), str):
                    values[key] = [values[key]]
        return values


def local_files(config: DataConfig, base_dir: Path | None = None) -> list[Path]:
    """The local files and folders that a data set reads, scripts included."""
    known = DataConfig.model_validate(config.model_dump(), context={"base_dir": base_dir}) if base_dir else config
    return [file.path for file in marked_files(known)]


def unread(config: DataConfig, *read: str) -> list[str]:
    """The parts of a data set, beyond rows of text, that something which reads only the named ones would pass over."""
    parts = ("process_function", "post_process_function", "dataloader_function", "image", "audio", "dummy")
    found = [part for part in parts if getattr(config, part) is not None]
    return [part for part in (*found, *(() if config.auto_batch else ("auto_batch",))) if part not in read]
