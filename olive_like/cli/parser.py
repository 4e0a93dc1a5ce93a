"""A parser whose complaints are one line, as all others of the command line are."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from olive_like.errors import WorkflowError


class Parser(argparse.ArgumentParser):
    """argparse, without the whole usage before each error."""

    def error(self, message: str) -> NoReturn:
        what = message.removeprefix("argument ").replace(": expected one argument", " takes a value")
        raise WorkflowError(what[:1].lower() + what[1:], f"See {self.prog} --help.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        from olive_like.diagnostics.nearest import did_you_mean

        names = [str(choice) for choice in action.choices]
        flag = max(action.option_strings, key=len, default=action.dest)
        raise WorkflowError(f"{flag} takes {', '.join(names)}, not {value!r}", did_you_mean(str(value), names))
