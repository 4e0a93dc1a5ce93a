"""The examples that a metric is measured on, as token records, whatever runtime will read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.artifacts import Adapter, Artifact
from olive_like.data._encode import IGNORED, Encoded, Encoder, Record
from olive_like.data.config import DataConfig
from olive_like.data.load import load
from olive_like.data.shapes import read_examples
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer, quiet

_UNLIMITED = 1_000_000


class Examples:
    """Records of one kind, and the tokenizer that made them."""

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        quiet()
        self.folder = config_folder(model)
        self.config = _json(self.folder / "config.json")
        self.tokenizer = load_tokenizer(model)
        named = (
            config
            if config.labels or not (names := self._label_names())
            else config.model_copy(update={"labels": names})
        )
        limits = [n for n in (self.tokenizer.model_max_length, self.config.get("max_position_embeddings")) if n]
        encoder = Encoder(
            self.tokenizer,
            named,
            min([config.max_seq_len, *[n for n in limits if n < _UNLIMITED]]),
            seq2seq=bool(self.config.get("is_encoder_decoder")),
        )
        loaded = load(config, seed)
        examples, self.recognised = read_examples(named, loaded.eval or loaded.train)
        self.encoded: Encoded = encoder.encode(examples)
        self.batch_size = max(1, config.batch_size)
        if not self.encoded.records:
            raise PassError("no example is left to measure on", "Raise `max_seq_len`, or look at `data check`.")

    def _label_names(self) -> list[str]:
        """The classes in the model's own order, where it has names for them."""
        names = self.config.get("id2label") or {}
        ordered = [str(names[key]) for key in sorted(names, key=int)]
        return [] if all(name.startswith("LABEL_") for name in ordered) else ordered

    def batches(self) -> Iterator[tuple[dict[str, np.ndarray], Sequence[Record]]]:
        """Batches padded on the right, with the records that they are of."""
        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else self.tokenizer.eos_token_id or 0
        records = self.encoded.records
        for start in range(0, len(records), self.batch_size):
            part = records[start : start + self.batch_size]
            length = max(len(record["input_ids"]) for record in part)
            batch = {
                "input_ids": np.full((len(part), length), pad, np.int64),
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
            yield batch, part

    def prompts(self) -> Iterator[tuple[list[int], str]]:
        """What to continue, and the text that is wanted."""
        for record in self.encoded.records:
            ids, labels = record["input_ids"], record["labels"]
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


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
