"""Examples that the user's own functions make: a data set, what is done to it, and how it becomes batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from olive_like.data._user import call, function, where
from olive_like.data.config import DataConfig
from olive_like.data.load import load
from olive_like.errors import PassError
from olive_like.passes.measure._examples import Batch

_LABELS = ("labels", "label", "target")


class OwnData:
    """Inputs with what should come out, in the user's own form."""

    kind = "own"

    def __init__(self, config: DataConfig, seed: int) -> None:
        made = _loaded(config, seed)
        if config.process_function:
            made = call(config, "process", made)
        self._batched = not config.auto_batch
        if config.dataloader_function:
            made, self._batched = call(config, "dataloader", made, batch_size=config.batch_size), True
        if not isinstance(made, Iterable) and not hasattr(made, "__getitem__"):
            raise PassError(f"{type(made).__name__} cannot be gone through", "Return a list, a data set or a loader.")
        self._made = made
        self._limit = config.max_samples
        self._size = 1 if self._batched else max(1, config.batch_size)
        self._label_cols = config.label_cols or _LABELS
        self.total = len(made) if hasattr(made, "__len__") else 0

    def batches(self) -> Iterator[Batch]:
        waiting: list[tuple[dict[str, np.ndarray], Any]] = []
        for index, item in enumerate(_items(self._made)):
            if self._limit is not None and index >= self._limit:
                break
            feeds, target = self._parts(item)
            if self._batched:
                yield Batch(feeds, targets=_list(target))
                continue
            waiting.append((feeds, target))
            if len(waiting) == self._size:
                yield _stacked(waiting)
                waiting = []
        if waiting:
            yield _stacked(waiting)

    def _parts(self, item: Any) -> tuple[dict[str, np.ndarray], Any]:
        """A pair is inputs and target; a mapping has the target under a name of its own."""
        target: Any = None
        if isinstance(item, (tuple, list)) and len(item) == 2:
            item, target = item
        elif isinstance(item, Mapping):
            name = next((n for n in self._label_cols if n in item), None)
            target = item[name] if name is not None else None
            item = {key: value for key, value in item.items() if key != name}
        if isinstance(item, Mapping) or hasattr(item, "keys"):
            return {str(key): np.asarray(item[key]) for key in item.keys()}, target  # noqa: SIM118 - not all are dicts
        if isinstance(item, (tuple, list)):
            return {f"input_{index}": np.asarray(value) for index, value in enumerate(item)}, target
        return {"input": np.asarray(item)}, target


def _loaded(config: DataConfig, seed: int) -> Any:
    """What the user's load function gives, whatever it is; else the rows."""
    if config.load_function:
        loader = function(config.user_script, config.load_function, config.script_dir)
        try:
            return loader(**config.load_params)
        except PassError:
            raise
        except Exception as error:
            assert config.user_script is not None
            raise PassError(f"{config.load_function} failed at {where(error, config.user_script)}") from error
    named = config.source or config.files or config.rows is not None
    if not named:
        return None  # the data loader brings its own
    rows = load(config, seed)
    return rows.eval or rows.train


def _items(made: Any) -> Iterator[Any]:
    """The items of what can be gone through, or only be asked for by number, as a torch data set."""
    if hasattr(made, "__iter__"):
        yield from made
        return
    for index in range(len(made)):
        yield made[index]


def _stacked(items: list[tuple[dict[str, np.ndarray], Any]]) -> Batch:
    feeds = {}
    for name in items[0][0]:
        arrays = [feeds_[name] for feeds_, _ in items]
        if len({array.shape for array in arrays}) > 1:
            raise PassError(
                f"{name!r} differs in shape from example to example: {', '.join(str(a.shape) for a in arrays[:3])}",
                "Pad them in the `process_function`, or make batches in a `dataloader_function`.",
            )
        feeds[name] = np.stack(arrays)
    return Batch(feeds, targets=[target for _, target in items])


def _list(target: Any) -> list[Any]:
    if target is None:
        return []
    array = np.asarray(target)
    return list(array) if array.ndim else [array.item()]


def brings_batches(config: DataConfig) -> bool:
    """Whether the user's load function gives inputs of a model, not rows of text."""
    made = _loaded(config, 0)
    if isinstance(made, Mapping):  # splits of rows
        return False
    first = next(_items(made), None)
    if not isinstance(first, Mapping):
        return True
    return not any(isinstance(value, str) or _is_text(value) for value in first.values())


def _is_text(value: Any) -> bool:
    """Words, or the messages of a chat."""
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], (str, Mapping))
