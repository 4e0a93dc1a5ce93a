"""Flags that a command was given and that change nothing in the workflow that it made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from olive_like.cli import flags
from olive_like.errors import WorkflowError

Configure = Callable[[argparse.ArgumentParser], None]
Remake = Callable[[argparse.Namespace], Any]


def given(configure: Configure, args: argparse.Namespace) -> dict[str, argparse.Action]:
    """The command's own flags that say something else than their defaults; those of every command are left out."""
    common = _actions(_every_commands)
    return {
        name: action
        for name, action in _actions(configure).items()
        if name not in common and getattr(args, name) != action.default
    }


def unheeded(configure: Configure, remake: Remake, args: argparse.Namespace, alike: Sequence[str] = ()) -> list[str]:
    """The flags without which the same workflow comes out; those that say alike things are left out together.

    A precision always counts: named or not, it is what is made.
    """
    made, found = remake(args), []
    for name, action in given(configure, args).items():
        if name == "precision":
            continue
        without = dict.fromkeys(alike if name in alike else [name])
        defaults = {one: _actions(configure)[one].default for one in without}
        try:
            again = remake(argparse.Namespace(**{**vars(args), **defaults}))
        except WorkflowError:
            continue  # without it there would be none
        if again == made:
            found.append(flag_of(action))
    return found


def flag_of(action: argparse.Action) -> str:
    """A flag as it is written out, its first long name."""
    return next(name for name in action.option_strings if name.startswith("--"))


def say(names: Sequence[str], choice: str) -> None:
    """A warning, where there is anything to say."""
    if names:
        print(f"warning: {', '.join(names)}: of no effect on {choice}", file=sys.stderr)


def _every_commands(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    flags.device(parser)
    flags.output(parser, "")


def _actions(configure: Configure) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    configure(parser)
    return {action.dest: action for action in parser._actions if action.help is not argparse.SUPPRESS}
