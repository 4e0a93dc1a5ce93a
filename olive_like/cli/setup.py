"""What a workflow needs installed: `run --setup`, `run --list_required_packages`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from olive_like.errors import OliveLikeError


def packages(source: Any, overrides: Sequence[str]) -> dict[str, str | None]:
    """The distributions that a workflow's passes need, with the installed version, None where it is missing."""
    from olive_like.graph.keys import tool_version
    from olive_like.graph.planning import graph_of
    from olive_like.workflow.read import read

    graph = graph_of(read(source, overrides).require())
    tools = {tool for node in graph.nodes.values() for tool in node.cls.tools_for(node.config)}
    return {tool: tool_version(tool) for tool in sorted(tools)}


def show(needed: dict[str, str | None], as_json: bool) -> None:
    """The list, one package a line."""
    if as_json:
        print(json.dumps(needed))
        return
    for name, version in needed.items():
        print(name if version is None else f"{name}=={version}")


def require(needed: dict[str, str | None], install: bool) -> None:
    """Say that all is there; install what is missing where that is asked for, otherwise name it."""
    missing = [name for name, version in needed.items() if version is None]
    if not missing:
        print(f"setup: all {len(needed)} packages that the workflow needs are installed", file=sys.stderr)
        return
    from olive_like.graph.needs import install_command

    commands = list(dict.fromkeys(install_command(name) for name in missing))
    if not install:
        raise OliveLikeError(f"not installed: {', '.join(missing)}", "; ".join([*commands, "or add --install"]))
    for command in commands:
        words = command.replace("'", "").split()
        print(f"setup: {command}", file=sys.stderr)
        if subprocess.run([sys.executable, "-m", *words], check=False).returncode:
            raise OliveLikeError(f"`{command}` failed", "What pip wrote above says why.")
