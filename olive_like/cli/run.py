"""`olive-like run`: run a workflow."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.cli import flags, sections
from olive_like.errors import WorkflowError

if TYPE_CHECKING:
    from olive_like.api import RunResult
    from olive_like.engine.cancel import CancelHandle

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="workflow file, YAML or JSON")
    parser.add_argument("--config", "--run-config", metavar="FILE", help="the same")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="passes that may run side by side")
    parser.add_argument(
        "-o",
        "--output-path",
        metavar="DIR",
        help="folder of outputs, in place of output_dir; with --test DIR-test",
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="the cache folder, in place of the default one")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--until", metavar="PASS", help="leave out what this pass does not need")
    parser.add_argument("--only", metavar="PASS", help="run this pass alone; what it needs must be in the cache")
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        metavar="PASS",
        help="run this pass even if the cache has its result, which is then replaced",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop everything at the first failed pass")
    parser.add_argument("--retries", type=_count, default=0, metavar="N", help="tries again when a worker is lost")
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="seconds that a pass may take")
    parser.add_argument("--in-process", action="store_true", help="no worker processes: for debuggers")
    locking = parser.add_mutually_exclusive_group()
    locking.add_argument("--lock", action="store_true", help="write FILE.lock after the run")
    locking.add_argument("--locked", action="store_true", help="refuse to run if anything differs from FILE.lock")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    flags.switch(parser, "--setup", help="first see whether all packages that the workflow needs are installed")
    flags.switch(parser, "--install", help="with --setup: install those that are missing")
    flags.switch(parser, "--list-required-packages", help="list these packages, and run nothing")
    parser.add_argument("--tempdir", metavar="DIR", help="folder for temporary files")
    parser.add_argument("--package-config", metavar="FILE", help=argparse.SUPPRESS)
    flags.model(parser, title="in place of the workflow's input model")
    flags.accepted(parser)


def execute(args: argparse.Namespace) -> int:
    file = args.file or args.config
    if file is None or (args.file and args.config):
        raise WorkflowError("name one workflow file", "olive-like run FILE")
    if args.package_config:
        raise WorkflowError(
            "--package-config is not needed here: passes of other packages announce themselves",
            "Leave it out; `olive-like passes` lists all passes there are.",
        )
    if args.install and not args.setup:
        raise WorkflowError("--install goes with --setup", "Write both: --setup --install.")
    overrides = [*sections.model_overrides(file, args), *args.overrides]
    if args.list_required_packages or args.setup:
        from olive_like.cli import setup

        needed = setup.packages(file, overrides)
        if args.list_required_packages:
            setup.show(needed, args.json)
            return 0
        setup.require(needed, args.install)
    if args.tempdir:
        Path(args.tempdir).mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(Path(args.tempdir).absolute())  # workers inherit it
    source: Any = file
    output = args.output_path
    if args.test:
        from olive_like.cli import trial

        if args.lock or args.locked:
            raise WorkflowError("a run with --test is no run to lock", "Leave out --lock and --locked.")
        output = trial.folder(output)
        source, said = trial.cut_down(file, overrides, args.cache_dir)
        overrides = []
        for text in said:
            print(f"test: {text}", file=sys.stderr)
    return run_and_show(
        source,
        args,
        overrides=overrides,
        until=args.until,
        only=args.only,
        again=args.again,
        output_dir=output,
        in_process=args.in_process,
        fail_fast=args.fail_fast,
        retries=args.retries,
        timeout=args.timeout,
        lock=args.lock,
        locked=args.locked,
    )


def run_and_show(source: Any, args: argparse.Namespace, *, why: str | None = None, **options: Any) -> int:
    """Run a workflow with progress, show how it ended, and return the exit code."""
    result, code = in_terminal(source, args, why=why, **options)
    if result is not None:
        _show(result, args.json)
    return code


def in_terminal(
    source: Any, args: argparse.Namespace, *, why: str | None = None, **options: Any
) -> tuple[RunResult | None, int]:
    """Run a workflow with progress; how it ended, if it came so far, and the exit code."""
    from olive_like.api import run
    from olive_like.engine.cancel import CancelHandle, Interrupted
    from olive_like.engine.progress import progress

    cancel = CancelHandle()
    try:
        with _signals(cancel) as caught, _own_output(args), progress(quiet=args.json) as listener:
            shown = listener if why is None else _first(why, listener)
            result = run(source, jobs=args.jobs, cache_dir=args.cache_dir, on_event=shown, cancel=cancel, **options)
    except Interrupted:
        if args.json:
            print('{"status": "interrupted", "run": null, "passes": [], "outputs": {}}')
        print("interrupted", file=sys.stderr)
        return None, 128 + caught[0]
    return result, 128 + caught[0] if caught and result.status == "interrupted" else 0 if result.ok else 1


def _first(why: str, listener: Callable[[dict[str, Any]], None] | None) -> Callable[[dict[str, Any]], None]:
    """A listener that says a line when the run has begun: what is wrong before that is said alone."""
    said: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if not said:
            said.append(why)
            print(why, file=sys.stderr, flush=True)
        if listener is not None:
            listener(event)

    return listen


def _positive(text: str) -> int:
    return _at_least(1, text)


def _count(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"takes a whole number from {least} on, not {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"takes a number of seconds above 0, not {text!r}")
    return number


def _show(result: RunResult, as_json: bool) -> None:
    document = result.to_json()
    if as_json:
        import json

        json.dump(document, sys.stdout)
        print()
        if not result.ok:
            from olive_like.engine.summary import failures, missed

            print("\n".join([*failures(document), *missed(document)] or [result.status]), file=sys.stderr)
        return
    from olive_like.engine.summary import summarise

    print(summarise(document))


@contextmanager
def _own_output(args: argparse.Namespace) -> Iterator[None]:
    """Passes that run in this process print to standard error where standard output is for one document."""
    if not (args.json and getattr(args, "in_process", False)):
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _signals(cancel: CancelHandle) -> Iterator[list[int]]:
    """Signals end the run: at once where it can be dropped, otherwise by ending the workers first."""
    from olive_like.engine.cancel import Interrupted

    caught: list[int] = []

    def handler(number: int, _: Any) -> None:
        caught.append(number)
        cancel.cancel(f"interrupted by {signal.Signals(number).name}")
        if not cancel.served:
            raise Interrupted(cancel.reason)

    old: dict[int, Callable[..., Any] | int | None] = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # nohup has SIGHUP ignored, and means it
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            old[number] = signal.signal(number, handler)
    try:
        yield caught
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
