"""The rows that a data config means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.places import FORMATS, PICTURES, ending, looks_local
from olive_like.data.read import Row, rows_of
from olive_like.data.splits import hold_out, hold_out_numbers, no_column, sample, take

_SPLIT_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "eval": "validation", "evaluation": "validation", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass
class Loaded:
    """Rows to train on (or to use, whatever for) and rows to evaluate on."""

    train: list[Row]
    eval: list[Row] = field(default_factory=list)


def load(config: DataConfig, seed: int = 0, pictures: bool = False) -> Loaded:
    """Read, split, shuffle, sample, hold out: in this order. `pictures`: text beside pictures is no data."""
    seed = config.seed if config.seed is not None else seed
    splits: dict[str, Sequence[Row]] | None
    if config.load_function:
        from olive_like.data._user import call_loader

        splits = call_loader(config)
    elif config.rows is not None:
        splits = {"train": config.rows}
    else:
        splits = _local(config, pictures or config.image is not None)
    if splits is None:
        return _from_hub(config, seed)
    train = take(splits, _only_split(splits, config.split))
    held = take(splits, config.eval_split) if config.eval_split else []
    if config.eval_fraction and not config.eval_split:
        train, held = hold_out(train, config.eval_fraction, seed, config.stratify_by)
    return Loaded(
        sample(train, config.max_samples, config.shuffle, seed),
        sample(held, config.max_samples, False, seed),
    )


def _only_split(splits: dict[str, Sequence[Row]], wanted: str) -> str:
    """`train` means the only split there is, as a lone test file has no other name to be called by."""
    return next(iter(splits)) if wanted == "train" and len(splits) == 1 else wanted


def _local(config: DataConfig, pictures: bool) -> dict[str, Sequence[Row]] | None:
    """The splits of local files; None where the source is a name on a hub."""
    source = Path(config.source) if config.source else None
    if source is not None and source.is_dir():
        if _is_saved(source) or config.format == "saved":
            from olive_like.data import _columnar

            return _columnar.saved(source)
        return _folder(source, config, pictures)
    if source is not None and looks_local(str(source)):
        return {"train": rows_of(source, config.format)}
    if source is not None:
        return None
    if config.files is None:
        raise DataError("the data set has neither a source nor files nor rows", "Say `source: my.jsonl`.")
    return _files(config.files, None, config.format)


def _folder(folder: Path, config: DataConfig, pictures: bool) -> dict[str, Sequence[Row]]:
    if config.subset and (folder / config.subset).is_dir():
        folder = folder / config.subset
    if config.files is not None:
        return _files(config.files, folder, config.format)
    files = [file for some in _data_files(folder, config.format).values() for file in some]
    words = config.format is None and all(FORMATS[ending(file)] == "text" for file in files)  # a licence, say
    if (not files or (pictures and words)) and (found := _pictures(folder)):
        return found
    return {
        split: [row for file in files for row in rows_of(file, config.format)]
        for split, files in split_files(folder, config.format).items()
    }


def _pictures(folder: Path) -> dict[str, Sequence[Row]]:
    """The pictures of a folder; the folders that they are in are their classes, those around all of these splits."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    outer = [path.relative_to(folder).parts[0].lower() for path in files]
    named = _SPLIT_NAMES.keys() >= set(outer) and all(len(path.relative_to(folder).parts) > 2 for path in files)
    found: dict[str, list[Row]] = {}
    for path, name in zip(files, outer, strict=True):
        row = {"image": str(path), "label": path.parent.name}
        found.setdefault(_SPLIT_NAMES[name] if named else "train", []).append(row)
    return dict(found)


def split_files(source: Path, said: str | None = None) -> dict[str, list[Path]]:
    """The data files of a folder by their splits; a file is a split by itself."""
    if not source.is_dir():
        return {"train": [source]}
    found = _data_files(source, said)
    if not found:
        raise DataError(f"{source} has no data files", f"Known endings: {', '.join(FORMATS)}.")
    return found


def _data_files(source: Path, said: str | None) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        hidden = any(part.startswith(".") for part in file.relative_to(source).parts)
        if not hidden and file.name.lower() != "readme.md" and (said or ending(file) in FORMATS):
            found.setdefault(_split_name(file, source), []).append(file)
    return found


def _split_name(file: Path, folder: Path) -> str:
    """The split that a file's name or its folder speaks of: `test.jsonl`, `train-00000-of-00002.parquet`."""
    for part in (file.stem, *reversed(file.relative_to(folder).parts[:-1])):
        word = part.lower().replace("_", "-").split("-")[0].split(".")[0]
        if word in _SPLIT_NAMES:
            return _SPLIT_NAMES[word]
    return "train"


def _files(files: Any, folder: Path | None, said: str | None) -> dict[str, Sequence[Row]]:
    if isinstance(files, dict):
        return {name: _files(value, folder, said)["train"] for name, value in files.items()}
    rows: list[Row] = []
    for name in [files] if isinstance(files, str) else files:
        path = Path(name) if folder is None or Path(name).is_absolute() else folder / name
        matches = sorted(path.parent.glob(path.name)) if any(sign in path.name for sign in "*?[") else [path]
        if not matches:
            raise DataError(f"no file matches {name}")
        for match in matches:
            rows.extend(rows_of(match, said))
    return {"train": rows}


def _is_saved(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("dataset_info.json", "dataset_dict.json", "state.json"))


def _from_hub(config: DataConfig, seed: int) -> Loaded:
    """The same as of local files; of a large data set only the rows that are meant are read."""
    from olive_like.data import _columnar

    def opened(split: str) -> Any:
        assert config.source is not None
        return _columnar.hub(
            config.source, config.subset, config.files, split, config.trust_remote_code, config.workers
        )

    found = opened(config.split)
    other, train, held = found, list(range(len(found))), list[int]()
    if config.eval_split:
        other = opened(config.eval_split)
        held = list(range(len(other)))
    elif config.eval_fraction:
        by = config.stratify_by
        if by is not None and by not in found.column_names:
            raise no_column(by, found.column_names)
        train, held = hold_out_numbers(len(found), found[by] if by else None, config.eval_fraction, seed)
    return Loaded(
        list(found.select(sample(train, config.max_samples, config.shuffle, seed))),
        list(other.select(sample(held, config.max_samples, False, seed))),
    )
