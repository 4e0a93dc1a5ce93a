"""Name -> system. Built-ins stand in the table here, others come from entry points; all lazily."""

from __future__ import annotations

from functools import cache
from importlib import import_module

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
def _plugins() -> dict[str, tuple[str, str, str]]:
    """Lower-cased name -> (name, "module:Class", distribution)."""
    from importlib.metadata import entry_points  # costs 10 ms: only where a name is not built in

    table: dict[str, tuple[str, str, str]] = {}
    for point in entry_points(group=GROUP):
        origin = point.dist.name if point.dist else "unknown distribution"
        key = point.name.lower()
        if key in _spellings() or key in table:
            raise ValueError(
                f"the system {point.name} of {origin} ({point.value}) has the name of another; rename its entry point"
            )
        table[key] = (point.name, point.value, origin)
    return table


def proper_name(name: str) -> str:
    """The registered spelling of a name in any case, or of an alias."""
    key = name.lower()
    if key in _spellings():
        return _spellings()[key]
    if key in _plugins():
        return _plugins()[key][0]
    raise UnknownSystem(name)


@cache
def load(name: str) -> type[System]:
    """The class of a system, importing the one module that it stands in."""
    proper = proper_name(name)
    target = SYSTEMS.get(proper) or _plugins()[proper.lower()][1]
    module, _, attribute = target.partition(":")
    cls = getattr(import_module(module), attribute)
    if not (isinstance(cls, type) and issubclass(cls, System)):
        raise TypeError(f"{target} is not a system: it must derive from olive_like.System")
    return cls


def origin(name: str) -> str:
    """ "built in", or the distribution that brings the system."""
    proper = proper_name(name)
    return "built in" if proper in SYSTEMS else _plugins()[proper.lower()][2]


def names() -> list[str]:
    """All names there are, plug-ins included."""
    return sorted([*SYSTEMS, *(name for name, _, _ in _plugins().values())])
