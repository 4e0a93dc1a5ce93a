"""A user's Python file: loaded from its path, its functions called by name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from olive_like.errors import PassError


def load_script(attributes: Mapping[str, Any]) -> ModuleType | None:
    """The module of the attribute `script`; its folder and `script_dir` are where its own imports look first."""
    if not attributes.get("script"):
        return None
    path = Path(attributes["script"]).resolve()
    folders = [
        str(path.parent),
        *([str(Path(attributes["script_dir"]).resolve())] if "script_dir" in attributes else []),
    ]
    spec = importlib.util.spec_from_file_location(f"user_script_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PassError(f"{path} is not a Python file", "Check `model_script`.")
    module = importlib.util.module_from_spec(spec)
    added = [folder for folder in folders if folder not in sys.path]
    sys.path[:0] = added
    # The script's folder is an input of the pass: nothing may be written there, compiled modules neither.
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except ImportError as error:
        raise PassError(f"{path.name} cannot be imported: {error}", "Install what it needs.") from error
    except SyntaxError as error:
        raise PassError(f"{path.name}, line {error.lineno}: {error.msg}", "Fix the script.") from error
    finally:
        sys.dont_write_bytecode = bytecode
    return module


def function_of(module: ModuleType | None, name: str, setting: str) -> Any:
    """A function of the script that a setting names."""
    found = getattr(module, name, None) if module is not None else None
    if callable(found):
        return found
    if module is None:
        raise PassError(f"`{setting}: {name}` names a function, but there is no script", "Set `model_script`.")
    raise PassError(f"{Path(str(module.__file__)).name} has no function {name!r}", f"Check `{setting}`.")
