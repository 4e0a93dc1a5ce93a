"""A user's Python file: loaded from its path, its functions called by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from olive_like.data._user import imported
from olive_like.errors import PassError


def load_script(attributes: Mapping[str, Any]) -> ModuleType | None:
    """The module of the attribute `script`; its folder and `script_dir` are where its own imports look first."""
    if not attributes.get("script"):
        return None
    path = Path(attributes["script"]).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise PassError(f"{path} is not a Python file", "Check `model_script`.")
    folder = attributes.get("script_dir")
    try:
        return imported(path, Path(folder) if folder else None)
    except ImportError as error:
        raise PassError(f"{path.name} cannot be imported: {error}", "Install what it needs.") from error
    except SyntaxError as error:
        raise PassError(f"{path.name}, line {error.lineno}: {error.msg}", "Fix the script.") from error


def function_of(module: ModuleType | None, name: str, setting: str) -> Any:
    """A function of the script that a setting names."""
    found = getattr(module, name, None) if module is not None else None
    if callable(found):
        return found
    if module is None:
        raise PassError(f"`{setting}: {name}` names a function, but there is no script", "Set `model_script`.")
    raise PassError(f"{Path(str(module.__file__)).name} has no function {name!r}", f"Check `{setting}`.")
