"""Recordings as a speech model's processor would make features of them, and what is said in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.artifacts import Artifact
from olive_like.data._sound import waveform
from olive_like.data.config import AudioData, DataConfig
from olive_like.data.load import load
from olive_like.data.places import looks_local
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.measure._examples import Batch, config_folder, config_of
from olive_like.passes.measure._runtimes import DECODER_IDS, Arrays

_TEXT = ("text", "transcription", "transcript", "sentence", "normalized_text")
_AUDIO = ("audio", "file_name")
_LISTS = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class Recording:
    """Sound, how long it is, and what is said in it."""

    samples: np.ndarray
    seconds: float
    text: str


class Sounds:
    """Recordings with what is said in them."""

    kind = "speech"

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        quiet()
        self.folder = config_folder(model)
        self.config = config_of(model)
        self._settings = config.audio or AudioData()
        self._rows, self._base = _rows(config, seed)
        self._ours = _is_ours(config)
        self._extractor = _extractor(self.folder)
        self._rate = int(getattr(self._extractor, "sampling_rate", self._settings.sample_rate))
        self._longest = getattr(self._extractor, "n_samples", None)
        self.tokenizer = load_tokenizer(model)
        first = self._rows[0]
        self._text = _column(first, self._settings.text_col, _TEXT, "text_col", "what is said")
        self._sound = _column(first, self._settings.audio_col, _AUDIO, "audio_col", "the recordings")
        self.total = len(self._rows)

    def recordings(self) -> Iterator[Recording]:
        """Every recording with its text."""
        for row in self._rows:
            sound = row[self._sound]
            if self._ours:
                self._check_place(sound)
            samples = waveform(sound, self._rate, self._base, self._settings.sample_rate)
            if self._settings.max_duration is not None:
                samples = samples[: int(self._settings.max_duration * self._rate)]
            yield Recording(samples, len(samples) / self._rate, str(row[self._text]))

    def _check_place(self, sound: Any) -> None:
        """A file counts only where its content is part of the key: in a folder that is the data set."""
        if isinstance(sound, Mapping):
            held = any(sound.get(name) is not None for name in ("array", "bytes"))
            sound = None if held else sound.get("path")
        if not isinstance(sound, (str, Path)):
            return
        inside = self._base is not None and Path(normpath(self._base / sound)).is_relative_to(normpath(self._base))
        if not inside:
            raise PassError(
                f"{sound} is not in a folder that is the data set: a change of it would not be seen",
                "Let `source` be the folder with the recordings, and metadata.jsonl in it, with `file_name` and the "
                "text, their list.",
            )

    def features(self, recording: Recording) -> Iterator[Arrays]:
        """What an encoder reads: a recording that is longer than that goes in piece by piece."""
        step = int(self._longest or len(recording.samples))
        for start in range(0, len(recording.samples), step):
            made = self._extractor(
                recording.samples[start : start + step], sampling_rate=self._rate, return_tensors="np"
            )
            yield {name: np.asarray(value, np.float32) for name, value in made.items() if name.startswith("input_")}

    def batches(self) -> Iterator[Batch]:
        """The first piece of each recording, for times; the decoder gets its first token."""
        start = np.array([[int(self.config.get("decoder_start_token_id") or 0)]])
        for recording in self.recordings():
            yield Batch({**next(self.features(recording)), DECODER_IDS: start})


def _extractor(folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PassError(
            f"{folder.name} does not say how sound becomes features: it has no preprocessor_config.json",
            "Put the file there that came with the original model.",
        ) from error


def _rows(config: DataConfig, seed: int) -> tuple[Sequence[Mapping[str, Any]], Path | None]:
    """The rows of a data set, and the folder that file names in it start from."""
    folder = _folder(config)
    if folder is not None:
        listed = next((folder / name for name in _LISTS if (folder / name).is_file()), None)
        if listed is not None and config.files is None:
            config = config.model_copy(update={"source": str(listed), "subset": None, "format": None})
    loaded = load(config, seed)
    rows = loaded.eval or loaded.train
    if not rows:
        raise PassError("the data set has no rows")
    if config.load_function and config.source and Path(config.source).exists():
        folder = Path(config.source) if Path(config.source).is_dir() else Path(config.source).parent
    return rows, folder


def _folder(config: DataConfig) -> Path | None:
    """The folder that a data set is: what its files hold is in the key."""
    if config.load_function or config.rows is not None or not config.source or not Path(config.source).is_dir():
        return None
    source = Path(config.source)
    if config.subset is None:
        return source
    if not (source / config.subset).is_dir():
        raise PassError(f"{source} has no folder {config.subset!r}", "Leave `subset` out, or name a folder there.")
    return source / config.subset


def _is_ours(config: DataConfig) -> bool:
    """Whether the data set is neither the hub's nor what a function of the user's brings."""
    local = config.source is None or looks_local(config.source) or Path(config.source).exists()
    return not config.load_function and (config.rows is not None or local)


def _column(row: Mapping[str, Any], said: str | None, known: Sequence[str], setting: str, what: str) -> str:
    """The column that was named; one of the usual ones where that is the default or none."""
    names = known if said in (None, AudioData.model_fields[setting].default) else [str(said)]
    for name in names:
        if name in row:
            return name
    raise PassError(
        f"the rows have no column {names[0]!r} with {what}",
        f"There are: {', '.join(map(str, row))}. Name it with `audio: {{{setting}: …}}`.",
    )
