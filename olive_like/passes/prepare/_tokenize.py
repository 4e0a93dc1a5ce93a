"""The work of TokenizedText."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from olive_like.artifacts import Adapter, Dataset, HfModel
from olive_like.data._encode import Encoded, Encoder
from olive_like.data._tokenized import pack, report, write
from olive_like.data.check import lacking
from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.examples import Example
from olive_like.data.load import load
from olive_like.data.shapes import Recognised, read_examples
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.base import Context
from olive_like.passes.tasks import read_config

_UNLIMITED = 1_000_000  # tokenizers without a limit say 1e30


def tokenize(model: HfModel | Adapter, config: DataConfig, context: Context) -> Dataset:
    """Read the rows, make examples, tokenise, pack, and say what was done."""
    quiet()
    if config.process_function:
        raise DataError(
            "`process_function` makes tensors of its own; text that is to be tokenised needs none",
            "Leave it out, or use the data set in a pass that reads it itself.",
        )
    tokenizer = load_tokenizer(model)
    settings = _model_settings(model)
    limit = _limit(tokenizer, settings, config, context)
    encoder = Encoder(tokenizer, config, limit, seq2seq=bool(settings.get("is_encoder_decoder")))
    loaded = load(config, context.seed)
    splits: dict[str, Any] = {}
    first: Encoded | None = None
    known: Recognised | None = None
    for split, rows in (("train", loaded.train), ("eval", loaded.eval)):
        if not rows:
            continue
        examples, known = read_examples(config, rows)
        if split == "train":
            context.note(known.said)
        _tell_what_lacks(split, examples, context)
        if first is not None and first.labels:
            encoder.config = config.model_copy(update={"labels": first.labels})
        encoded = encoder.encode(examples)
        if not encoded.records:
            raise DataError(
                f"of {len(rows):,} rows, none has a token to learn within {limit:,} tokens",
                "Raise `max_seq_len`, or set `train_on_prompt: true`.",
            )
        first = first or encoded
        records = pack(encoded.records, limit) if config.packing and encoded.kind == "lm" else encoded.records
        write(context.output, split, records, encoded.kind)
        splits[split] = report(encoded, len(examples), len(records), limit)
        _tell(split, encoded, splits[split], context)
    assert first is not None
    assert known is not None
    if config.packing and first.kind != "lm":
        context.note(f"`packing` has no effect: rows of {known.shape} are not packed")
    attributes = {
        "format": "tokenized",
        "kind": first.kind,
        "shape": known.shape,
        "labels": first.labels,
        "packed": config.packing and first.kind == "lm",
        "max_seq_len": limit,
        "splits": splits,
        "chat_template": encoder.chat.template if encoder.uses_chat else None,
        "padding": config.padding,
    }
    return Dataset(context.output, attributes)


def _tell_what_lacks(split: str, examples: Sequence[Example], context: Context) -> None:
    """Rows that can be trained on, though there is nothing in them."""
    counts = Counter(text for text in map(lacking, examples) if text)
    for text, count in counts.items():
        context.warn(f"{split}: in {count:,} of {len(examples):,} rows {text}; `olive-like data check` names them")


def _model_settings(model: HfModel | Adapter) -> dict[str, Any]:
    folder = model.base.path if isinstance(model, Adapter) else model.path
    return read_config(folder) if (folder / "config.json").exists() else {}


def _limit(tokenizer: Any, settings: dict[str, Any], config: DataConfig, context: Context) -> int:
    """The longest sequence: what was asked for, or less where the model's positions end before."""
    positions = settings.get("max_position_embeddings") or settings.get("n_positions")
    limits = [n for n in (tokenizer.model_max_length, positions) if isinstance(n, int) and 0 < n < _UNLIMITED]
    # RoBERTa's positions start behind the padding token's.
    if settings.get("model_type") in ("roberta", "xlm-roberta", "camembert") and positions:
        limits.append(positions - 2)
    if limits and min(limits) < config.max_seq_len:
        context.note(f"max_seq_len is {min(limits):,}, the model's limit, not {config.max_seq_len:,}")
        return min(limits)
    return config.max_seq_len


def _tell(split: str, encoded: Encoded, numbers: dict[str, Any], context: Context) -> None:
    said = f"{split}: {numbers['examples']:,} examples, {numbers['tokens']:,} tokens"
    if encoded.kind in ("lm", "seq2seq"):
        said += f", {numbers['trained_tokens']:,} of them trained on"
    if numbers["sequences"] != numbers["examples"]:
        said += f", in {numbers['sequences']:,} sequences"
    context.note(said)
    for note in dict.fromkeys(encoded.notes):
        context.note(note)
    if encoded.cut_tokens:
        context.warn(
            f"{split}: {encoded.cut:,} of {numbers['examples']:,} examples are longer than "
            f"{numbers['max_seq_len']:,} tokens and were cut: {encoded.cut_tokens:,} tokens lost"
        )
    if encoded.dropped:
        context.warn(f"{split}: {encoded.dropped:,} examples have nothing to learn within the limit and are left out")
