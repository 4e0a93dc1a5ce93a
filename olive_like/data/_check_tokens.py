"""Counts of tokens, what would be cut, and how long training may take."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, logging

from olive_like.data._encode import IGNORED, Encoder, Record
from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.examples import Example

_EFFICIENCY = 0.5  # of a plain matrix product's speed that training reaches


def open_tokenizer(model: str) -> Any:
    """The tokenizer of a local folder, or of a hub name."""
    logging.set_verbosity_error()
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DataError(f"{model} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None


def count(examples: Sequence[Example], model: str, config: DataConfig, batch: int, epochs: float) -> dict[str, Any]:
    """Lengths, cuts, steps and an estimate of the time, for the training split."""
    tokenizer = open_tokenizer(model)
    encoder = Encoder(tokenizer, config.model_copy(update={"packing": False}), 1_000_000_000)
    encoded = encoder.encode(examples)
    limit = config.max_seq_len
    texts = [_texts(record) for record in encoded.records]
    if not texts:
        raise DataError(f"of {len(examples):,} rows, none has a token to learn")
    lengths = sorted(max(some) for some in texts)
    used = sum(min(length, limit) for some in texts for length in some)
    sequences = math.ceil(used / limit) if config.packing else len(lengths)
    steps = math.ceil(sequences / batch) * epochs
    found: dict[str, Any] = {
        "min": lengths[0],
        "median": lengths[len(lengths) // 2],
        "p95": lengths[min(len(lengths) - 1, int(len(lengths) * 0.95))],
        "max": lengths[-1],
        "per_epoch": used,
        "trained_per_epoch": sum(_learnt(record, limit) for record in encoded.records),
        "max_seq_len": limit,
        "cut_examples": sum(length > limit for length in lengths),
        "cut_tokens": sum(length for some in texts for length in some) - used,
        "batch_size": batch,
        "epochs": epochs,
        "steps": math.ceil(steps),
        "notes": encoded.notes,
    }
    parameters = _parameters(Path(model))
    if parameters:
        # Two operations per weight and token forwards, as many backwards through a frozen base.
        found["seconds"] = round(4 * parameters * used * epochs / (_EFFICIENCY * _speed()), 1)
        found["parameters"] = parameters
    return found


def _texts(record: Record) -> list[int]:
    """The lengths of what the model reads of a record: of a pair of answers two texts, each with the prompt."""
    if "prompt_ids" in record:
        return [len(record["prompt_ids"]) + len(record[side]) for side in ("chosen_ids", "rejected_ids")]
    return [len(record["input_ids"])]


def _learnt(record: Record, limit: int) -> int:
    """How many tokens are learnt of what the limit leaves."""
    if "prompt_ids" in record:
        return sum(min(len(record[side]), limit) for side in ("chosen_ids", "rejected_ids"))
    if "labels" in record:
        return sum(label != IGNORED for label in record["labels"][:limit])
    return min(len(record["input_ids"]), limit)


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            total += sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    return total


def _speed() -> float:
    """Operations per second of a matrix product, here and now."""
    size = 768
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    matrix = torch.randn(size, size, dtype=torch.bfloat16 if fast else torch.float32)
    matrix @ matrix
    started, rounds = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        matrix @ matrix
        rounds += 1
    return rounds * 2 * size**3 / (time.perf_counter() - started)


def marked(examples: Sequence[Example], model: str, config: DataConfig) -> list[list[tuple[str, bool]]]:
    """Every example as pieces of text, each with whether it is learnt."""
    tokenizer = open_tokenizer(model)
    encoder = Encoder(tokenizer, config, config.max_seq_len)
    found = []
    for record in encoder.encode(examples).records:
        sides = (
            [("", record["input_ids"], record.get("labels"))]
            if "input_ids" in record
            else [
                (title, record[f"{side}_ids"], record[f"{side}_ids"] if title else None)
                for side, title in (("prompt", ""), ("chosen", "\n[chosen] "), ("rejected", "\n[rejected] "))
            ]
        )
        pieces: list[tuple[str, bool]] = []
        for title, ids, labels in sides:
            pieces += [(title, False)] if title else []
            learnt = [label >= 0 for label in labels] if labels is not None else [False] * len(ids)
            start = 0
            for at in range(1, len(ids) + 1):
                if at == len(ids) or learnt[at] != learnt[start]:
                    pieces.append((str(tokenizer.decode(ids[start:at])), learnt[start]))
                    start = at
        found.append(pieces)
    return found
