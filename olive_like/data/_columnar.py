"""Rows of Parquet and Arrow files, and of data sets that the `datasets` library saved or fetches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.feather
import pyarrow.parquet

from olive_like.data.errors import DataError


def rows(file: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Row after row, batch by batch."""
    try:
        if kind == "parquet":
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
                yield from batch.to_pylist()
        else:
            for batch in _arrow(file).to_batches():
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} is not readable as {kind}: {str(error).splitlines()[0]}") from None


def saved(folder: Path) -> dict[str, Any]:
    """The splits of a folder that `save_to_disk` wrote."""
    import datasets

    found = datasets.load_from_disk(str(folder))
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    return {name: split.to_list() for name, split in splits.items()}


def hub(name: str, subset: str | None, files: Any, split: str, trust: bool, workers: int) -> Any:
    """A data set on the hub, or of its local cache where the hub is not to be asked; its rows are not read yet."""
    import datasets

    if trust:
        raise DataError(
            f"{name}: the installed `datasets` library runs no code of data sets any more",
            "Leave `trust_remote_code` out; or load it with a function of your own: `user_script`, `load_function`.",
        )
    try:
        found = datasets.load_dataset(
            name, subset, data_files=files, split=split, num_proc=workers if workers > 1 else None
        )
    except (OSError, ValueError, RuntimeError) as error:
        offline = " (offline, as HF_HUB_OFFLINE says)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
        raise DataError(
            f"the data set {name!r} is neither a local file or folder nor to be had from the hub{offline}: "
            f"{str(error).strip().splitlines()[0]}",
            "Check the name; a relative path starts at the workflow file's folder.",
        ) from error
    for column, feature in (found.features or {}).items():
        if isinstance(feature, datasets.Audio):  # read by ourselves: decoding takes a library more
            found = found.cast_column(column, datasets.Audio(decode=False))
    return found


def _arrow(file: Path) -> pyarrow.Table:
    with pyarrow.memory_map(str(file)) as source:
        try:
            return pyarrow.ipc.open_stream(source).read_all()
        except pyarrow.ArrowInvalid:
            return pyarrow.ipc.open_file(source).read_all()
