"""Texts that a metric is measured on, as token records, whatever runtime will read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from olive_like.artifacts import Adapter, Artifact
from olive_like.data._encode import IGNORED, Encoded, Encoder, Record
from olive_like.data.config import DataConfig
from olive_like.data.load import load
from olive_like.data.shapes import read_examples
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.measure._runtimes import DECODER_IDS

_UNLIMITED = 1_000_000


@dataclass
class Batch:
    """What goes into a model at once, and what belongs to each row of it."""

    feeds: dict[str, np.ndarray]
    records: Sequence[Record] = ()  # of texts: tokens and labels
    targets: list[Any] = field(default_factory=list)  # of anything else: what should come out


class Examples(Protocol):
    """What a metric is measured on."""

    kind: str  # as of Encoded; pictures are "classification", a user's own batches "own"
    total: int

    def batches(self) -> Iterator[Batch]:
        """Everything, batch by batch."""
        ...


class Texts:
    """Records of one kind, and the tokenizer that made them."""

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        quiet()
        self.folder = config_folder(model)
        self.config = config_of(model)
        self.tokenizer = load_tokenizer(model)
        named = (
            config
            if config.labels or not (names := self._label_names())
            else config.model_copy(update={"labels": names})
        )
        limits = [n for n in (self.tokenizer.model_max_length, self.config.get("max_position_embeddings")) if n]
        self.limit = min([config.max_seq_len, *[n for n in limits if n < _UNLIMITED]])
        seq2seq = bool(self.config.get("is_encoder_decoder"))
        loaded = load(config, seed)
        self.read, self.recognised = read_examples(named, loaded.eval or loaded.train)
        self.encoded: Encoded = Encoder(self.tokenizer, named, self.limit, seq2seq=seq2seq).encode(self.read)
        self.batch_size = max(1, config.batch_size)
        if not self.encoded.records:
            raise PassError("no example is left to measure on", "Raise `max_seq_len`, or look at `data check`.")
        self.kind = self.encoded.kind
        self.total = len(self.encoded.records)
        self._start = self.config.get("decoder_start_token_id")
        self._pad_to = config.max_seq_len if config.padding == "max_length" else 0
        if self.kind == "seq2seq" and self._start is None:
            raise PassError("the model's config names no decoder_start_token_id", "An encoder-decoder model needs it.")

    def _label_names(self) -> list[str]:
        """The classes in the model's own order, where it has names for them."""
        names = self.config.get("id2label") or {}
        ordered = [str(names[key]) for key in sorted(names, key=int)]
        return [] if all(name.startswith("LABEL_") for name in ordered) else ordered

    def batches(self) -> Iterator[Batch]:
        """Batches padded on the right, with the records that they are of."""
        records = self.encoded.records
        for start in range(0, len(records), self.batch_size):
            part = records[start : start + self.batch_size]
            batch = self._padded(part)
            if self.kind == "seq2seq":
                batch[DECODER_IDS] = self._shifted(part)
            yield Batch(batch, part, [record.get("label") for record in part])

    def wanted(self, record: Record) -> np.ndarray:
        """The token that should follow at each place of a record's logits; IGNORED where that does not matter."""
        # A causal model's logits are of the next token, a decoder's of what it was given one place later.
        return np.array(record["labels"] if self.kind == "seq2seq" else record["labels"][1:])

    def sources(self) -> Iterator[dict[str, np.ndarray]]:
        """What the encoder reads, example by example."""
        for record in self.encoded.records:
            yield self._padded([record])

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def _shifted(self, part: Sequence[Record]) -> np.ndarray:
        ids = np.full((len(part), max(len(record["labels"]) for record in part)), self._pad, np.int64)
        for row, record in enumerate(part):
            ids[row, : len(record["labels"])] = [self._start, *record["labels"][:-1]]
        return ids

    def _padded(self, part: Sequence[Record]) -> dict[str, np.ndarray]:
        length = max(self._pad_to, *(len(record["input_ids"]) for record in part))
        batch = {
            "input_ids": np.full((len(part), length), self._pad, np.int64),
            "attention_mask": np.zeros((len(part), length), np.int64),
        }
        if "token_type_ids" in part[0]:
            batch["token_type_ids"] = np.zeros((len(part), length), np.int64)
        for row, record in enumerate(part):
            size = len(record["input_ids"])
            batch["input_ids"][row, :size] = record["input_ids"]
            batch["attention_mask"][row, :size] = 1
            if "token_type_ids" in batch:
                batch["token_type_ids"][row, :size] = record["token_type_ids"]
        return batch

    def prompts(self) -> Iterator[tuple[list[int], str]]:
        """What to continue, and the text that is wanted."""
        for record in self.encoded.records:
            ids, labels = record["input_ids"], record["labels"]
            if self.kind == "seq2seq":
                yield [int(self._start)], self.tokenizer.decode(labels, skip_special_tokens=True)
                continue
            start = next((i for i, label in enumerate(labels) if label != IGNORED), 0)
            if start == 0:
                raise PassError(
                    "generated texts need examples with a prompt and an answer",
                    "Use chat, alpaca or prompt/completion rows, or measure perplexity.",
                )
            wanted = [label for label in labels if label != IGNORED]
            yield list(ids[:start]), self.tokenizer.decode(wanted, skip_special_tokens=True)


def config_folder(model: Artifact) -> Path:
    """Where the model's config.json is: an adapter's is its base's."""
    return model.base.path if isinstance(model, Adapter) else model.path


def config_of(model: Artifact) -> dict[str, Any]:
    """The model's config.json, empty where it has none."""
    return _json(config_folder(model) / "config.json")


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
