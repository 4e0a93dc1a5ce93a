"""Name -> pass. Built-ins come from the rooms beside this file, others from entry points; all lazily."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import NamedTuple

from olive_like.errors import OliveLikeError
from olive_like.passes.base import Pass

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


class Entry(NamedTuple):
    name: str
    target: str  # "module:Class"
    origin: str  # "built in", or the distribution that brings it


class BrokenPass(OliveLikeError):
    """A pass of another distribution cannot be loaded."""

    def __init__(self, found: Entry, why: str) -> None:
        self.entry = found
        super().__init__(
            f"the pass {found.name} of the package {found.origin} cannot be loaded: {why}",
            f"Mend or uninstall {found.origin}; --debug shows where it fails.",
        )


@cache
def _builtins() -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    for room in ROOMS:
        for name, target in import_module(room).PASSES.items():
            if name in table:
                raise ValueError(f"two built-in passes are called {name}: {table[name].target} and {target}")
            table[name] = Entry(name, target, "built in")
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
    from importlib.metadata import entry_points  # costs 10 ms: only where a name is not built in

    table: dict[str, Entry] = {}
    for point in entry_points(group=GROUP):
        origin = point.dist.name if point.dist else "unknown distribution"
        other = _builtins().get(_spellings().get(point.name.lower(), "")) or table.get(point.name.lower())
        if other is not None:
            raise ValueError(
                f"the pass {point.name} of {origin} ({point.value}) has the name of another, "
                f"{other.target} ({other.origin}); rename its entry point"
            )
        table[point.name.lower()] = Entry(point.name, point.value, origin)
    return table


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
    found = entry(name)
    module, _, attribute = found.target.partition(":")
    try:
        cls = getattr(import_module(module), attribute)
    except Exception as error:
        if found.origin == "built in":
            raise
        # Somebody else's code may raise anything; whose it is must be said.
        raise BrokenPass(found, f"{type(error).__name__}: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Pass)):
        raise BrokenPass(found, f"{found.target} does not derive from olive_like.Pass")
    return cls


def names() -> list[str]:
    """All names there are, plug-ins included."""
    return sorted([*_builtins(), *(e.name for e in _plugins().values())])


def broken() -> list[BrokenPass]:
    """What is wrong with those that cannot be loaded: a list of all passes goes on without them."""
    found = []
    for name in names():
        try:
            load(name)
        except BrokenPass as error:
            found.append(error)
    return found


def working() -> list[str]:
    """The names of all passes that can be loaded."""
    without = {error.entry.name for error in broken()}
    return [name for name in names() if name not in without]


def doc(cls: type[Pass]) -> str:
    """The first line of the class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
