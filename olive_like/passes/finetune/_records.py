"""The prepared records of a training, with the classes of both data sets numbered alike."""

from __future__ import annotations

from typing import Any

from olive_like.data._tokenized import read
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune._objectives import Record


def read_records(context: Context) -> tuple[list[Record], list[Record], dict[str, Any]]:
    """Records to train on, records to evaluate on, and what the data say of themselves."""
    prepared = context.data.get("train_data_config")
    if prepared is None:
        raise PassError("there is nothing to train on", "Name a data set with `train_data_config`.")
    records = read(prepared, "train")
    held_out = read(prepared, "eval")
    facts = dict(prepared.attributes)
    other = context.data.get("eval_data_config")
    if other is not None:
        if facts["kind"] == "regression" and other.attributes["kind"] == "classification":
            return records, _whole_numbers(read(other, "train"), list(other.attributes["labels"])), facts
        if other.attributes["kind"] != facts["kind"]:
            raise PassError(
                f"the training data are {facts['kind']}, the evaluation data {other.attributes['kind']}",
                "Say with `shape` what the rows of both are.",
            )
        held_out = _same_labels(read(other, "train"), list(other.attributes["labels"]), list(facts["labels"]))
    return records, held_out, facts


def _same_labels(records: list[Record], have: list[str], want: list[str]) -> list[Record]:
    """Each data set numbers its own classes: those of the training data hold."""
    unknown = [name for name in have if name not in want]
    if unknown:
        raise PassError(
            f"the evaluation data have the label {unknown[0]!r}, which the training data have not",
            f"Known: {', '.join(want)}. `labels` in the data config names all there may be.",
        )
    order = [want.index(name) for name in have]
    for record in records:
        if "label" in record and order:
            record["label"] = order[record["label"]]
        elif have:
            record["labels"] = [order[label] if label >= 0 else label for label in record["labels"]]
    return records


def _whole_numbers(records: list[Record], names: list[str]) -> list[Record]:
    """Numbers that were taken for classes, since by chance all of them are whole."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        raise PassError(
            f"the training data have numbers as labels, the evaluation data {', '.join(names[:3])}"
        ) from None
    for record in records:
        record["label"] = numbers[record["label"]]
    return records
