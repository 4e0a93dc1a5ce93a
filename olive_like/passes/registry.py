"""Name -> pass. Built-ins come from the rooms beside this file, others from entry points; all lazily."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from olive_like.passes.base import Pass
from olive_like.plugins import BUILT_IN, Broken, Entry, announced, imported, unloadable

GROUP = "olive_like.passes"

# Each room is a folder of passes; its __init__ has PASSES (name -> "module:Class") and may have
# ALIASES (other name -> name). Importing a room imports no pass.
ROOMS = (
    "olive_like.passes.pretend",
    "olive_like.passes.prepare",
    "olive_like.passes.finetune",
    "olive_like.passes.convert",
    "olive_like.passes.onnx_graph",
    "olive_like.passes.quantize",
    "olive_like.passes.onnx_quantize",
    "olive_like.passes.measure",
)


class UnknownPass(LookupError):
    """No pass has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@cache
def _builtins() -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    for room in ROOMS:
        for name, target in import_module(room).PASSES.items():
            if name in table:
                raise ValueError(f"two built-in passes are called {name}: {table[name].target} and {target}")
            table[name] = Entry(name, target, BUILT_IN)
    return table


@cache
def _spellings() -> dict[str, str]:
    """Lower-cased names and aliases -> name: Olive's files write `gptq` as well as `Gptq`."""
    spellings = {name.lower(): name for name in _builtins()}
    for room in ROOMS:
        aliases: dict[str, str] = getattr(import_module(room), "ALIASES", {})
        spellings.update({alias.lower(): name for alias, name in aliases.items()})
    return spellings


@cache
def _plugins() -> dict[str, Entry]:
    return announced(GROUP, "pass", lambda key: _builtins().get(_spellings().get(key, "")))


def entry(name: str) -> Entry:
    """The entry for a name in any case, or for an alias."""
    proper = _spellings().get(name.lower())
    if proper is not None:
        return _builtins()[proper]
    try:
        return _plugins()[name.lower()]
    except KeyError:
        raise UnknownPass(name) from None


@cache
def load(name: str) -> type[Pass]:
    """The class of a pass, importing the one module that it stands in."""
    return imported(entry(name), Pass, "pass")


def names() -> list[str]:
    """All names there are, plug-ins included."""
    return sorted([*_builtins(), *(e.name for e in _plugins().values())])


def broken() -> list[Broken]:
    """What is wrong with those that cannot be loaded."""
    return unloadable(names(), load)


def working() -> list[str]:
    """The names of all passes that can be loaded."""
    without = {error.entry.name for error in broken()}
    return [name for name in names() if name not in without]


def doc(cls: type[Pass]) -> str:
    """The first line of the class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
