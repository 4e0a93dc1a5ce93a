"""Recordings as a speech model's processor would make features of them, and what is said in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.artifacts import Artifact
from olive_like.data._sound import waveform
from olive_like.data.config import AudioData, DataConfig
from olive_like.data.load import load
from olive_like.data.read import rows_of
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.measure._examples import Batch, config_folder, config_of
from olive_like.passes.measure._runtimes import DECODER_IDS, Arrays

_TEXT = ("text", "transcription", "transcript", "sentence", "normalized_text")
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
        self._extractor = _extractor(self.folder)
        self._rate = int(getattr(self._extractor, "sampling_rate", self._settings.sample_rate))
        self._longest = getattr(self._extractor, "n_samples", None)
        self.tokenizer = load_tokenizer(model)
        self._text = _column(self._rows[0], [self._settings.text_col or "text", *_TEXT], "text_col", "what is said")
        self._sound = _column(
            self._rows[0], [self._settings.audio_col, "audio", "file_name"], "audio_col", "the recordings"
        )
        self.total = len(self._rows)

    def recordings(self) -> Iterator[Recording]:
        """Every recording with its text."""
        for row in self._rows:
            samples = waveform(row[self._sound], self._rate, self._base)
            if self._settings.max_duration is not None:
                samples = samples[: int(self._settings.max_duration * self._rate)]
            yield Recording(samples, len(samples) / self._rate, str(row[self._text]))

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
    source = Path(config.source) if config.source else None
    listed = next((source / name for name in _LISTS if (source / name).is_file()), None) if source else None
    if listed is not None:
        return rows_of(listed)[: config.max_samples], source
    loaded = load(config, seed)
    rows = loaded.eval or loaded.train
    if not rows:
        raise PassError("the data set has no rows")
    return rows, source.parent if source is not None and source.is_file() else None


def _column(row: Mapping[str, Any], names: Sequence[str], setting: str, what: str) -> str:
    for name in names:
        if name in row:
            return name
    raise PassError(
        f"the rows have no column {names[0]!r} with {what}",
        f"There are: {', '.join(map(str, row))}. Name it with `audio: {{{setting}: …}}`.",
    )
