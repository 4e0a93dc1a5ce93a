"""Models that stay loaded in a worker from one pass to the next."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from olive_like.systems.own_memory import own_rss


class Memory:
    """Values by name, the longest unused dropped first when they outgrow the budget."""

    def __init__(self) -> None:
        self.budget = 0
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        """The value of that name, loaded if it is not there."""
        if name in self._values:
            self._values.move_to_end(name)
            return self._values[name][0]
        before = own_rss()
        value = load()
        size = size_of(value) or max(0, own_rss() - before)
        if size <= self.budget:
            self._values[name] = (value, size)
            self._shrink()
        return value

    def publish(self, output: str, digest: str) -> None:
        """What a pass kept under its output's path is from now on found by the output's digest."""
        for name in [name for name in self._values if output in name]:
            self._values[name.replace(output, digest)] = self._values.pop(name)

    def forget(self, output: str) -> None:
        """Drop what a failed pass kept."""
        for name in [name for name in self._values if output in name]:
            del self._values[name]

    def keeps(self, output: str) -> bool:
        """Whether something is kept under that path."""
        return any(output in name for name in self._values)

    def _shrink(self) -> None:
        dropped = False
        while sum(size for _, size in self._values.values()) > self.budget:
            self._values.popitem(last=False)
            dropped = True
        if dropped:
            gc.collect()


def size_of(value: Any) -> int:
    """Bytes of a torch module's parameters and buffers, or of a tuple's; 0 if it is neither."""
    if isinstance(value, (tuple, list)):
        return sum(size_of(item) for item in value)
    if hasattr(value, "parameters") and hasattr(value, "buffers"):
        tensors = {id(t): t for t in (*value.parameters(), *value.buffers())}
        return sum(t.numel() * t.element_size() for t in tensors.values())
    return 0
