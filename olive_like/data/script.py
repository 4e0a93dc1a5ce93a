"""What can be said of a user's Python file without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from olive_like.diagnostics.nearest import did_you_mean


def lacking(script: Path, name: str) -> str | None:
    """Why a script cannot have a function of that name; None where it has it, or where only running it would tell."""
    try:
        tree = ast.parse(script.read_bytes())
    except OSError:
        return None  # said elsewhere, by who looks for files
    except SyntaxError as error:
        return f"{script.name}, line {error.lineno}: {error.msg}"
    except ValueError as error:
        return f"{script.name} is not Python: {error}"
    names = list(_names(tree.body))
    if name in names or "*" in names or "__getattr__" in names:
        return None
    near = did_you_mean(name, names)
    functions = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return f"{script.name} has no function {name!r}: " + (near or f"it has {', '.join(functions) or 'none'}")


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Every name that a module's statements may give a value, `*` for those of another module."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            continue
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.stmt):
                yield from _names([part])
            else:
                inner = [one for one in ast.walk(part) if isinstance(one, ast.stmt)]
                yield from _names(inner)
                yield from (one.id for one in ast.walk(part) if isinstance(one, ast.Name))
