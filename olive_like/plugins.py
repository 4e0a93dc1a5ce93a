"""What other packages bring by entry points, and whose it is where it cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, TypeVar

from olive_like.errors import OliveLikeError

T = TypeVar("T")
BUILT_IN = "built in"


class Entry(NamedTuple):
    """Something with a registered name."""

    name: str
    target: str  # "module:Class"
    origin: str  # "built in", or the distribution that brings it


class Broken(OliveLikeError):
    """What another distribution brings cannot be loaded."""

    def __init__(self, what: str, found: Entry, why: str) -> None:
        self.entry = found
        super().__init__(
            f"the {what} {found.name} of the package {found.origin} cannot be loaded: {why}",
            f"Mend or uninstall {found.origin}; --debug shows where it fails.",
        )


def announced(group: str, what: str, built_in: Callable[[str], Entry | None]) -> dict[str, Entry]:
    """Lower-cased name -> entry of all that other distributions bring; no name may be that of another."""
    from importlib.metadata import entry_points  # costs 10 ms: only where a name is not built in

    table: dict[str, Entry] = {}
    for point in entry_points(group=group):
        origin = point.dist.name if point.dist else "unknown distribution"
        key = point.name.lower()
        other = built_in(key) or table.get(key)
        if other is not None:
            raise OliveLikeError(
                f"the {what} {point.name} of {origin} ({point.value}) has the name of another, "
                f"{other.target} ({other.origin})",
                f"Rename the entry point of {origin}, or uninstall it.",
            )
        table[key] = Entry(point.name, point.value, origin)
    return table


def imported(found: Entry, base: type[T], what: str) -> type[T]:
    """The class that an entry names, from the one module that it stands in."""
    module, _, attribute = found.target.partition(":")
    try:
        cls = getattr(import_module(module), attribute)
    except Exception as error:
        if found.origin == BUILT_IN:
            raise
        # Somebody else's code may raise anything; whose it is must be said.
        raise Broken(what, found, f"{type(error).__name__}: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise Broken(what, found, f"{found.target} does not derive from olive_like.{base.__name__}")
    return cls


def unloadable(names: list[str], load: Callable[[str], object]) -> list[Broken]:
    """What is wrong with those that cannot be loaded: a list of all goes on without them."""
    found = []
    for name in names:
        try:
            load(name)
        except Broken as error:
            found.append(error)
    return found
