"""`olive-like data`: look at a data file before it is trained on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from olive_like.cli import flags
from olive_like.cli.silent import silent
from olive_like.data.check import Report, check
from olive_like.data.config import DataConfig
from olive_like.data.load import split_files
from olive_like.errors import WorkflowError

_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Two commands: check and show."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="check|show")
    one = commands.add_parser("check", help="errors by line, repeats, leaks, balance, tokens")
    two = commands.add_parser("show", help="examples as the model will see them, what is learnt marked")
    for sub in (one, two):
        sub.add_argument("file", type=Path, help="data file, or folder of them")
        sub.add_argument("--model", "-m", required=sub is two, help="model whose tokenizer and chat template count")
        sub.add_argument("--text_template", "--text-template", help="text with {column} fields")
        sub.add_argument("--shape", default="auto", help="what the rows are, if the columns do not say it")
        sub.add_argument("--columns", nargs="*", default=[], metavar="MEANING=COLUMN", help="which column means what")
        sub.add_argument("--max_seq_len", "--max-seq-len", type=int, default=1024, help="longest example in tokens")
        sub.add_argument("--train_on_prompt", "--train-on-prompt", action="store_true", help="learn every token")
        sub.add_argument("--packing", action="store_true", help="fill sequences with several examples")
        sub.add_argument("--json", action="store_true", help="print one JSON document")
    one.add_argument("--eval", type=Path, action="append", default=[], help="file that is evaluated on: finds leaks")
    one.add_argument("--batch_size", "--batch-size", type=int, default=8, help="examples per step, for the estimate")
    one.add_argument("--epochs", type=float, default=1.0, help="times through the data, for the estimate")
    two.add_argument("-n", type=int, default=3, help="how many examples")


def execute(args: argparse.Namespace) -> int:
    """Check or show."""
    for file in (args.file, *getattr(args, "eval", ())):
        if not file.exists():
            raise WorkflowError(f"there is no file {file}")
    config = _config(args)
    return _check(args, config) if args.action == "check" else _show(args, config)


def _config(args: argparse.Namespace) -> DataConfig:
    settings = {
        "shape": args.shape,
        "text_template": args.text_template,
        "columns": {k: str(v) for k, v in flags.pairs(",".join(args.columns), "--columns").items()},
        "max_seq_len": args.max_seq_len,
        "train_on_prompt": args.train_on_prompt,
        "packing": args.packing,
    }
    try:
        return DataConfig.model_validate(settings)
    except ValidationError as error:
        from olive_like.workflow.validation import explained

        first = explained(error, DataConfig, settings)[0]
        raise WorkflowError(first.message, first.hint) from None


def _check(args: argparse.Namespace, config: DataConfig) -> int:
    files = split_files(args.file)
    if args.eval:
        files = {**files, "eval": [*files.get("eval", []), *args.eval]}
    report, examples = check(files, config)
    train = examples.get("train") or next(iter(examples.values()))
    if args.model and train:
        from olive_like.data import _check_tokens

        with silent():
            report.tokens = _check_tokens.count(train, args.model, config, args.batch_size, args.epochs)
    print(json.dumps(report.to_json(), ensure_ascii=False) if args.json else _words(report))
    return 1 if report.errors else 0


def _words(report: Report) -> str:
    rows = ", ".join(f"{count:,} in {split}" for split, count in report.rows.items())
    lines = [f"rows: {rows}", report.said]
    shown = sorted(report.problems, key=lambda p: (not p.serious, p.file, p.line))[:_SHOWN]
    lines += [f"{p.file}:{p.line}: {'error' if p.serious else 'warning'}: {p.message}" for p in shown]
    if len(report.problems) > _SHOWN:
        lines.append(f"… and {len(report.problems) - _SHOWN:,} more (--json has all)")
    lines.append(
        f"errors: {report.errors:,}; repeated rows: {report.duplicates:,}; leaked between splits: {report.leaks:,}"
    )
    for split, counts in report.classes.items():
        total = sum(counts.values())
        parts = ", ".join(f"{name} {count:,} ({count / total:.0%})" for name, count in list(counts.items())[:12])
        lines.append(f"classes of {split}: {parts}")
    lines += report.notes
    if report.tokens:
        lines += _token_words(report.tokens)
    return "\n".join(lines)


def _token_words(tokens: dict[str, Any]) -> list[str]:
    lines = [
        f"tokens per example: min {tokens['min']:,}, median {tokens['median']:,}, p95 {tokens['p95']:,}, "
        f"max {tokens['max']:,}",
        f"tokens per epoch: {tokens['per_epoch']:,}, of them learnt {tokens['trained_per_epoch']:,}",
        f"longer than {tokens['max_seq_len']:,}: {tokens['cut_examples']:,} examples, "
        f"of which {tokens['cut_tokens']:,} tokens would be cut",
        f"steps: {tokens['steps']:,} at batches of {tokens['batch_size']} and {tokens['epochs']:g} epochs",
    ]
    if "seconds" in tokens:
        lines.append(f"time on this machine: about {_duration(tokens['seconds'])} for an adapter, by a rough estimate")
    return lines + list(tokens["notes"])


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _show(args: argparse.Namespace, config: DataConfig) -> int:
    _, examples = check(split_files(args.file), config)
    some = (examples.get("train") or next(iter(examples.values())))[: args.n]
    if not some:
        raise WorkflowError(f"{args.file} has no good row", "olive-like data check lists what is wrong.")
    from olive_like.data import _check_tokens

    with silent():
        found = _check_tokens.marked(some, args.model, config)
    if args.json:
        print(
            json.dumps(
                [[{"text": text, "learnt": learnt} for text, learnt in one] for one in found], ensure_ascii=False
            )
        )
        return 0
    begin, end = ("\x1b[1;32m", "\x1b[0m") if sys.stdout.isatty() else ("⟦", "⟧")
    for number, pieces in enumerate(found, 1):
        print(f"--- {number} ---")
        print("".join(f"{begin}{text}{end}" if learnt else text for text, learnt in pieces))
    return 0
