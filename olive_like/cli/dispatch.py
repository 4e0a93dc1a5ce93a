"""Parse a command's arguments, run it, and turn what it raises into a message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from olive_like.cli import COMMANDS, flags
from olive_like.cli.parser import Parser
from olive_like.errors import OliveLikeError


def dispatch(name: str, arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    if name not in COMMANDS:
        print(f"error: there is no command {name!r}{_nearest(name)}", file=sys.stderr)
        print("hint: olive-like --help lists the commands", file=sys.stderr)
        return 2
    # Looking for pydantic's plug-ins goes through every installed distribution: 20 ms and more.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    module = import_module(COMMANDS[name][0])
    parser = Parser(prog=f"olive-like {name}", description=COMMANDS[name][1], allow_abbrev=False)
    module.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parse = getattr(module, "parse", flags.parse)
    args = argparse.Namespace(debug="--debug" in arguments)
    try:
        args = parse(parser, flags.spelled(arguments))
        return int(module.execute(args))
    except OliveLikeError as error:
        if args.debug:
            raise
        _report(error)
        if getattr(args, "json", False):
            _report_json(error)
        return error.exit_code
    except KeyboardInterrupt:
        if args.debug:
            raise
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if args.debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _report(OliveLikeError(f"{place}{error.strerror or error}"))
        return 1
    except Exception as error:  # the last line of defence: a traceback is for who asks for it
        if args.debug:
            raise
        line = next(iter(str(error).strip().splitlines()), "")
        _report(
            OliveLikeError(f"{type(error).__name__}: {line}", "This should not happen. --debug shows where it did.")
        )
        return 1


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _report_json(error: OliveLikeError) -> None:
    """The same for who asked for one document: on standard output, in place of the command's own."""
    import json

    from olive_like.redact import Redactor

    document = {
        "ok": False,
        "status": "failed",
        "error": {"message": error.message, "hint": error.hint},
        "diagnostics": [diagnostic.to_json() for diagnostic in error.diagnostics],
    }
    print(json.dumps(Redactor().data(document), ensure_ascii=False))


def _report(error: OliveLikeError) -> None:
    if error.diagnostics:
        from olive_like.diagnostics.render import render

        # What made the command fail comes before what is only worth knowing.
        print(render(sorted(error.diagnostics, key=lambda one: one.severity != "error")), file=sys.stderr)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
