"""`olive-like run-pass`: run one pass on one model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    parser.add_argument("--pass-name", metavar="PASS", help="the type of the pass; `olive-like passes` lists them")
    parser.add_argument("--pass-config", metavar="JSON", help="its settings: JSON, or a file with JSON or YAML")
    flags.switch(parser, "--list-passes", help="list the passes there are")
    flags.device(parser)
    flags.output(parser, "run-pass-output")


def execute(args: argparse.Namespace) -> int:
    if args.list_passes:
        from olive_like.passes.registry import names

        print("\n".join(names()))
        return 0
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the flags."""
    name = flags.required(args.pass_name, "--pass-name")
    step = {"type": name, **_settings(args.pass_config)}
    model = sections.input_model(args)
    return {
        "input_model": model,
        **sections.system(args),
        "passes": {"pass": step},
        "seed": args.seed,
        "layout": "olive",
    }


def _settings(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    if not text.lstrip().startswith("{"):
        from olive_like.workflow.loader import load
        from olive_like.workflow.schema import invalid

        if not Path(text).is_file():
            raise WorkflowError(f"--pass-config {text} is neither JSON nor a file")
        loaded = load(text)
        if loaded.tree is None or loaded.diagnostics:
            raise invalid(loaded.diagnostics)
        return dict(loaded.tree)
    try:
        settings: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise WorkflowError(f"--pass-config is not JSON: {error}", "Quote it as one word: '{\"r\": 8}'.") from None
    return settings
