"""`olive-like benchmark`: measure a model, or two beside each other."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

SOURCE = "input_model"


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    group = parser.add_argument_group("what to measure")
    group.add_argument("--metrics", metavar="NAMES", default="latency,size_on_disk",
                       help="with commas between: perplexity, accuracy_score, bleu, latency, throughput, generation, "
                       "load_time, size_on_disk …; default: latency,size_on_disk")  # fmt: skip
    group.add_argument("--data", metavar="DATA", help="the data to measure on: a local file or folder, or a hub name")
    group.add_argument("--split", metavar="SPLIT", help="rows to measure on")
    group.add_argument("--text-template", metavar="TEXT", type=flags.unescaped, help="text with {column} fields")
    group.add_argument("--max-samples", type=int, metavar="N", help="use at most so many rows")
    group.add_argument("--max-length", "--max-seq-len", type=int, default=1024, metavar="N", help="longest example")
    group.add_argument("--batch-size", type=int, default=1, metavar="N")
    group.add_argument("--tasks", metavar="NAMES", help="tasks of lm-evaluation-harness, with commas between")
    group.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    group.add_argument("--backend", default="auto", help=argparse.SUPPRESS)
    group.add_argument("--compare", metavar="MODEL", action="append", default=[], help="another model; may be repeated")
    flags.device(parser)
    flags.output(parser, "benchmark")


def execute(args: argparse.Namespace) -> int:
    """Measure each model in a run of its own; what was measured before is not measured again."""
    from olive_like.api import run
    from olive_like.engine.comparison import SUFFIX, comparison
    from olive_like.engine.progress import progress
    from olive_like.engine.summary import table

    models = [flags.required(args.model_name_or_path, "--model-name-or-path"), *args.compare]
    if args.dry_run or args.save_config_file:
        return carry_out.carry_out(workflow(args, models[0]), args)
    measured: list[dict[str, Any]] = []
    code = 0
    for model in models:
        with progress(quiet=args.json) as listener:
            result = run(workflow(args, model), jobs=args.jobs, cache_dir=args.cache_dir, on_event=listener)
        found = result.passes[f"{SOURCE}{SUFFIX}"]
        if found.error:
            print(f"error: {model}: {found.error['message']}", file=sys.stderr)
            code = 1
        measured.append({"name": f"{model}{SUFFIX}", "metrics": dict(found.metrics)})
    if args.json:
        print(json.dumps({"models": {item["name"].removesuffix(SUFFIX): item["metrics"] for item in measured}}))
    else:
        print("\n".join(table(comparison(measured, models[0]))))
    return code


def workflow(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """A workflow that measures its input model and makes nothing."""
    if args.tasks:
        raise WorkflowError(
            "tasks of lm-evaluation-harness are not available yet", "Use --metrics perplexity --data FILE."
        )
    args.model_name_or_path = model
    evaluator: dict[str, Any] = {"metrics": flags.listed(args.metrics) or []}
    made: dict[str, Any] = {"input_model": sections.input_model(args)}
    if args.data:
        data = {"name": "data", "source": args.data, "split": args.split, "max_samples": args.max_samples,
                "text_template": args.text_template, "max_seq_len": args.max_length,
                "batch_size": args.batch_size}  # fmt: skip
        made["data_configs"] = [{key: value for key, value in data.items() if value is not None}]
        evaluator["data_config"] = "data"
    measuring = {"evaluators": {"benchmark": evaluator}, "evaluator": "benchmark", "evaluate_input_model": True}
    return {**made, **measuring, **sections.system(args), "seed": args.seed}
