"""Name -> system. Built-ins stand in the table here, others come from entry points; all lazily."""

from __future__ import annotations

from functools import cache

from olive_like.plugins import BUILT_IN, Broken, Entry, announced, imported, unloadable
from olive_like.systems.base import System

GROUP = "olive_like.systems"

SYSTEMS: dict[str, str] = {
    "local": "olive_like.systems.local:Local",
    "docker": "olive_like.systems.docker:Docker",
    "cuda": "olive_like.systems.cuda:Cuda",
    "deepspeed": "olive_like.systems.deepspeed:DeepSpeed",
    "fsdp": "olive_like.systems.torchrun:Fsdp",
    "null": "olive_like.systems.null:NullSystem",
    "ray": "olive_like.systems.ray:Ray",
    "torchrun": "olive_like.systems.torchrun:Torchrun",
    "python_environment": "olive_like.systems.python_environment:PythonEnvironment",
}

# Names that other tools' files use.
ALIASES: dict[str, str] = {
    "LocalSystem": "local",
    "PythonEnvironment": "python_environment",
}


class UnknownSystem(LookupError):
    """No system has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@cache
def _spellings() -> dict[str, str]:
    spellings = {name.lower(): name for name in SYSTEMS}
    spellings.update({alias.lower(): name for alias, name in ALIASES.items()})
    return spellings


@cache
def _plugins() -> dict[str, Entry]:
    return announced(GROUP, "system", _built_in)


def _built_in(key: str) -> Entry | None:
    name = _spellings().get(key)
    return Entry(name, SYSTEMS[name], BUILT_IN) if name is not None else None


def entry(name: str) -> Entry:
    """The entry for a name in any case, or for an alias."""
    found = _built_in(name.lower()) or _plugins().get(name.lower())
    if found is None:
        raise UnknownSystem(name)
    return found


@cache
def load(name: str) -> type[System]:
    """The class of a system, importing the one module that it stands in."""
    return imported(entry(name), System, "system")


def names() -> list[str]:
    """All names there are, plug-ins included."""
    return sorted([*SYSTEMS, *(found.name for found in _plugins().values())])


def broken() -> list[Broken]:
    """What is wrong with those that cannot be loaded."""
    return unloadable(names(), load)


def working() -> list[str]:
    """The names of all systems that can be loaded."""
    without = {error.entry.name for error in broken()}
    return [name for name in names() if name not in without]
