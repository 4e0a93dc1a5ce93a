"""A user's own functions for data: loaded from the script that the config names, errors at the user's line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.errors import PassError

_PREFIX = "olive_like_user_"
_folders: list[str] = []  # of users' scripts, the latest first, behind all else on the path
_used: set[str] = set()  # the same, and those that were on the path anyway
_ours: set[str] = set()  # packages that were there before any script was


def imported(script: Path, script_dir: Path | None = None) -> ModuleType:
    """A user's Python file under a name of its own; its folder and `script_dir` are where its imports look first.

    A process may serve several: what one of them calls `helper` is not what another does.
    """
    name = f"{_PREFIX}{script.stem}_{zlib.crc32(str(script).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None or not script.is_file():
        raise PassError(f"{script} is not a Python file", "Check its name.")
    module = importlib.util.module_from_spec(spec)
    folders = [str(folder.resolve()) for folder in (script.parent, script_dir) if folder is not None]
    _forget_others(folders)
    path = [entry for entry in sys.path if entry not in _folders]
    sys.path[:] = [*folders, *path]
    # The script may lie in an input's folder, where nothing may be written, compiled modules neither.
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        sys.modules[name] = module
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = bytecode
        # What a function imports when it is called is found too, but nothing that libraries import is hidden by it.
        _folders[:] = dict.fromkeys([*(folder for folder in folders if folder not in path), *_folders])
        sys.path[:] = [*path, *_folders]
    return module


def _forget_others(folders: list[str]) -> None:
    """Forget what other scripts have imported from their folders."""
    if not _ours:
        _ours.update(name.partition(".")[0] for name in sys.modules)
    others = _used.difference(folders)
    _used.update(folders)
    for name in [name for name in sys.modules if not name.startswith(_PREFIX) and _found_in(name) in others]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _found_in(name: str) -> str | None:
    """The folder on the path in which a module was found; None for all that no script has brought."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if top in _ours or module is None:
        return None
    inside = next(iter(getattr(module, "__path__", [])), None) or getattr(module, "__file__", None)
    return str(Path(inside).parent) if inside else None


def load_script(script: Path, script_dir: Path | None = None) -> ModuleType:
    """The same, with what is wrong in it said at the user's line."""
    try:
        return imported(script, script_dir)
    except PassError:
        raise
    except Exception as error:
        raise PassError(f"{script.name} cannot be imported: {where(error, script)}") from error


def function(script: Path | None, name: str, script_dir: Path | None = None) -> Callable[..., Any]:
    """The named function or class of a script."""
    if script is None:
        raise PassError(f"{name!r} is named, but no `user_script` that it is in")
    module = load_script(script, script_dir)
    found = getattr(module, name, None)
    if not callable(found):
        there = sorted(
            n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__
        )
        raise PassError(f"{script.name} has no function {name!r}; it has: {', '.join(there) or 'none'}")
    result: Callable[..., Any] = found
    return result


def where(error: BaseException, script: Path) -> str:
    """What went wrong and at which line of the user's file."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == script.name]
    place = f"{script.name}:{frames[-1].lineno}" if frames else script.name
    if isinstance(error, SyntaxError):
        place = f"{script.name}:{error.lineno}"
    line = f": `{frames[-1].line}`" if frames and frames[-1].line else ""
    return f"{place}{line}: {type(error).__name__}: {error}"


def call_loader(config: DataConfig) -> dict[str, Sequence[dict[str, Any]]]:
    """What the user's load function returns, as splits of rows."""
    assert config.load_function is not None
    loader = function(config.user_script, config.load_function, config.script_dir)
    try:
        found = loader(**config.load_params)
    except Exception as error:
        assert config.user_script is not None
        raise DataError(f"{config.load_function} failed at {where(error, config.user_script)}") from error
    if isinstance(found, Mapping):
        return {str(name): as_rows(value) for name, value in found.items()}
    return {"train": as_rows(found)}


def call(config: DataConfig, role: str, rows: Any, **arguments: Any) -> Any:
    """What the user's function for a role (`process`, `dataloader`) makes of rows."""
    name = getattr(config, f"{role}_function")
    code = function(config.user_script, name, config.script_dir)
    try:
        return code(rows, **{**arguments, **getattr(config, f"{role}_params")})
    except PassError:
        raise
    except Exception as error:
        assert config.user_script is not None
        raise DataError(f"{name} failed at {where(error, config.user_script)}") from error


def as_rows(value: Any) -> list[dict[str, Any]]:
    """Rows of what Python has for tables: a list of mappings, a data set, a data frame, a table."""
    for method, arguments in (("to_dict", {"orient": "records"}), ("to_pylist", {})):
        if hasattr(value, method) and type(value).__module__.split(".")[0] in ("pandas", "pyarrow"):
            return list(getattr(value, method)(**arguments))
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise DataError(f"{type(value).__name__} cannot be read as rows", "Return a list of mappings or a data set.")
    rows = list(value)
    if rows and not isinstance(rows[0], Mapping):
        raise DataError(f"rows are mappings of columns, these are {type(rows[0]).__name__}")
    return [dict(row) for row in rows]
