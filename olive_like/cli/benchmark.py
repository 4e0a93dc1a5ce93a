"""`olive-like benchmark`: measure a model, or several beside each other."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

if TYPE_CHECKING:
    from olive_like.api import RunResult

SOURCE = "input_model"


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    group = parser.add_argument_group("what to measure")
    group.add_argument("--metrics", metavar="NAMES",
                       help="with commas between: perplexity, accuracy_score, bleu, latency, throughput, generation, "
                       "load_time, memory, size_on_disk …, or mine.py:score, a function of yours; "
                       "default: latency,size_on_disk")  # fmt: skip
    group.add_argument("--data", metavar="DATA", help="the data to measure on: a local file or folder, or a hub name")
    group.add_argument("--split", metavar="SPLIT", help="rows to measure on")
    group.add_argument("--text-template", metavar="TEXT", type=flags.unescaped, help="text with {column} fields")
    group.add_argument("--max-samples", type=int, metavar="N", help="use at most so many rows")
    group.add_argument("--max-length", "--max-seq-len", type=int, metavar="N", help="longest example; default: 1024")
    group.add_argument("--batch-size", type=int, metavar="N", help="rows per batch; default: 1")
    group.add_argument("--tasks", metavar="NAMES", help="tasks of lm-evaluation-harness, with commas between")
    group.add_argument("--limit", type=float, metavar="N", help="questions per task, or below 1 a part of them")
    group.add_argument("--backend", default="auto", help=argparse.SUPPRESS)
    group.add_argument("--compare", metavar="MODEL", action="append", default=[], help="another model; may be repeated")
    flags.device(parser)
    flags.output(parser, "benchmark")


def execute(args: argparse.Namespace) -> int:
    """Measure each model in a run of its own; what was measured before is not measured again."""
    from olive_like.cli.run import in_terminal

    models = [flags.required(args.model_name_or_path, "--model-name-or-path"), *args.compare]
    workflows = [workflow(args, model) for model in models]
    if args.dry_run or args.save_config_file:
        return carry_out.carry_out(workflows[0], args)
    found: dict[str, Any] = {}
    code = 0
    for model, flow in zip(models, workflows, strict=True):
        result, code_ = in_terminal(flow, args)
        if result is None:
            return code_
        code = max(code, code_)
        found[model] = _measured(model, result)
    _show(found, models[0], args.json)
    return code


def _measured(model: str, result: RunResult) -> dict[str, Any]:
    """The metrics of one model; why there are none goes to standard error."""
    from olive_like.engine.comparison import SUFFIX

    measured = result.passes[f"{SOURCE}{SUFFIX}"]
    for text in measured.notes:
        print(f"note: {model}: {text}", file=sys.stderr)
    if measured.error:
        hint = f"\nhint: {measured.error['hint']}" if measured.error.get("hint") else ""
        print(f"error: {model}: {measured.error['message']}{hint}", file=sys.stderr)
    return dict(measured.metrics)


def _show(found: dict[str, Any], base: str, as_json: bool) -> None:
    from olive_like.engine.comparison import SUFFIX, comparison
    from olive_like.engine.summary import table

    if as_json:
        print(json.dumps({"models": found}))
        return
    rows = comparison([{"name": f"{model}{SUFFIX}", "metrics": values} for model, values in found.items()], base)
    if rows:
        print("\n".join(table(rows)))


def workflow(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """A workflow that measures its input model and makes nothing."""
    metrics: list[Any] = list(flags.listed(args.metrics) or ([] if args.tasks else ["latency", "size_on_disk"]))
    if args.tasks:
        harness = {"name": "lm_eval", "type": "lm_eval", "tasks": flags.listed(args.tasks)}
        metrics.append(harness | ({"limit": args.limit} if args.limit else {}))
    args.model_name_or_path = model
    evaluator: dict[str, Any] = {"metrics": metrics}
    made: dict[str, Any] = {"input_model": sections.input_model(args)}
    if args.data:
        data = {"name": "data", "source": args.data, "split": args.split, "max_samples": args.max_samples,
                "text_template": args.text_template, "max_seq_len": args.max_length or 1024,
                "batch_size": args.batch_size or 1}  # fmt: skip
        made["data_configs"] = [{key: value for key, value in data.items() if value is not None}]
        evaluator["data_config"] = "data"
    elif needy := [name for name in metrics if isinstance(name, str) and _needs_data(name)]:
        raise WorkflowError(f"{needy[0]} is measured on data", "Name them: --data FILE.")
    else:
        _refuse_without(args, "--data", "split", "text_template", "max_samples", "max_length", "batch_size")
    if not args.tasks:
        _refuse_without(args, "--tasks", "limit")
    measuring = {"evaluators": {"benchmark": evaluator}, "evaluator": "benchmark", "evaluate_input_model": True}
    return {**made, **measuring, **sections.system(args), "seed": args.seed}


def _refuse_without(args: argparse.Namespace, needed: str, *names: str) -> None:
    """Flags that only say how another one's are to be taken."""
    if given := [name for name in names if getattr(args, name) is not None]:
        raise WorkflowError(f"--{given[0].replace('_', '-')} says nothing without {needed}", f"Add {needed}.")


def _needs_data(name: str) -> bool:
    from olive_like.metrics.catalog import shorthand

    meaning = shorthand(name)
    return meaning is not None and meaning[0] == "accuracy"
