"""Token records on disk: one Arrow stream per split, the same bytes for the same records."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow

from olive_like.artifacts import Dataset
from olive_like.data._encode import Encoded, Record
from olive_like.errors import PassError

_SCALARS = {"label", "start", "end"}


def write(folder: Path, split: str, records: Sequence[Record], kind: str) -> None:
    """Write the records of a split; `datasets.Dataset.from_file` reads them too."""
    columns = {}
    for name in records[0]:
        scalar = pyarrow.float64() if kind == "regression" else pyarrow.int64()
        columns[name] = pyarrow.array(
            [record[name] for record in records], scalar if name in _SCALARS else pyarrow.list_(pyarrow.int32())
        )
    table = pyarrow.table(columns)
    with (
        pyarrow.OSFile(str(folder / f"{split}.arrow"), "wb") as sink,
        pyarrow.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=1000)


def read(dataset: Dataset, split: str = "train") -> list[Record]:
    """The records of a split; none where the data set has no such split."""
    file = dataset.path / f"{split}.arrow"
    if dataset.attributes.get("format") != "tokenized":
        raise PassError(f"{dataset.path} is no tokenised data set")
    if not file.exists():
        return []
    with pyarrow.memory_map(str(file)) as source:
        table = pyarrow.ipc.open_stream(source).read_all()
        names = table.column_names
        columns = [table.column(name).to_pylist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def pack(records: Sequence[Record], size: int) -> list[Record]:
    """Put records together into sequences of at most `size` tokens, best fit first; `lengths` keeps them apart."""
    order = sorted(range(len(records)), key=lambda i: (-len(records[i]["input_ids"]), i))
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), sorted
    for index in order:
        need = len(records[index]["input_ids"])
        at = bisect.bisect_left(room, (need, -1))
        if at < len(room):
            free, target = room.pop(at)
            bins[target].append(index)
        else:
            free, target = size, len(bins)
            bins.append([index])
        if free > need:
            bisect.insort(room, (free - need, target))
    packed = []
    for members in sorted(sorted(members) for members in bins):
        packed.append(
            {
                "input_ids": [token for i in members for token in records[i]["input_ids"]],
                "labels": [label for i in members for label in records[i]["labels"]],
                "lengths": [len(records[i]["input_ids"]) for i in members],
            }
        )
    return packed


def report(encoded: Encoded, examples: int, sequences: int, max_len: int) -> dict[str, Any]:
    """What the summary says of a split."""
    lengths = sorted(len(next(iter(record.values()))) for record in encoded.records)
    return {
        "examples": examples,
        "sequences": sequences,
        "tokens": encoded.tokens,
        "trained_tokens": encoded.trained_tokens,
        "longest": lengths[-1],
        "median": lengths[len(lengths) // 2],
        "cut": encoded.cut,
        "cut_tokens": encoded.cut_tokens,
        "dropped": encoded.dropped,
        "max_seq_len": max_len,
    }
