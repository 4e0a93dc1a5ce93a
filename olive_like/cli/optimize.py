"""`olive-like optimize` (also `auto-opt`): choose the passes for a model and a device, and run them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olive_like.cli import carry_out, flags, sections, unheeded
from olive_like.errors import WorkflowError

_EXPORTER_FLAGS = ("exporter", "use_ort_genai", "use_model_builder", "use_dynamo_exporter")
_EXPORTERS = ("model_builder", "dynamo_exporter", "torchscript_exporter", "optimum_exporter")


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    group = parser.add_argument_group("what to make")
    group.add_argument("--precision", help="fp32, fp16, bf16, int8, int4 …; default: the finest that fits into "
                       "--memory, else fp32")  # fmt: skip
    group.add_argument("--act-precision", choices=("int8", "uint8", "int16", "uint16"), help="type of activations")
    group.add_argument("--exporter", choices=_EXPORTERS, help="how the ONNX graph is made; default: what fits")
    flags.switch(
        group, "--use-ort-genai", help="a folder that onnxruntime-genai loads (the same as --use-model-builder)"
    )
    flags.switch(group, "--use-model-builder", help="onnxruntime-genai's builder")
    flags.switch(group, "--use-dynamo-exporter", help="torch.export")
    flags.switch(group, "--use-qdq-encoding", "--use-qdq-format", help="quantise/dequantise pairs")
    group.add_argument("--block-size", type=int, metavar="N", help="weights that share a scale")
    group.add_argument("--surgeries", metavar="NAMES", help="graph surgeries, with commas between")
    group.add_argument("--dynamic-to-fixed-shape-dim-param", "--dim-param", metavar="NAMES", help="axes to fix")
    group.add_argument("--dynamic-to-fixed-shape-dim-value", "--dim-value", metavar="SIZES", help="their sizes")
    group.add_argument("--goal", action="append", default=[], metavar="METRIC=VALUE",
                       help="fail unless it is reached: latency=20 (ms), size_on_disk=100000000, perplexity=12 "
                       "(on --data-name) …; may be repeated")  # fmt: skip
    flags.data(parser)
    parser.add_argument("--split", metavar="SPLIT", help="rows to calibrate with")
    parser.add_argument("--subset", metavar="NAME", help="configuration of a hub data set")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows per batch")
    flags.device(parser, default=None)
    flags.output(parser, "optimized-model")


def execute(args: argparse.Namespace) -> int:
    made, why = workflow(args)
    rest = unheeded.unheeded(configure, lambda changed: _around(changed, made["input_model"])[0], args, _EXPORTER_FLAGS)
    rest = list(dict.fromkeys([*_overruled(args), *rest]))
    unheeded.say(rest, "what was chosen: " + ", ".join(step["type"] for step in made["passes"].values()))
    return carry_out.carry_out(made, args, why=f"rule: {why}")


def workflow(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The workflow for the flags, and why it is that one."""
    return _around(args, sections.input_model(args))


def _around(args: argparse.Namespace, model: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The workflow for a model, and why; data that nothing reads are not in it."""
    from olive_like.search.rules import Wish, choose

    more = {k: v for k, v in (("split", args.split), ("subset", args.subset), ("batch_size", args.batch_size)) if v}
    data = sections.data_config(args, **more)
    precision = args.precision or _precision(args.memory, model)
    wish = Wish(
        family=_family(model),
        device=args.device or ("gpu" if sections.provider_of(args) == "CUDAExecutionProvider" else "cpu"),
        precision=precision,
        exporter=_exporter(args),
        adapter="adapter_path" in model,
        data="calibration" if data else None,
        block_size=args.block_size,
        qdq=args.use_qdq_encoding,
        fixed=_fixed(args),
        surgeries=flags.listed(args.surgeries) or (),
        act_precision=args.act_precision,
    )
    choice = choose(wish)
    made: dict[str, Any] = {"input_model": model}
    on_data: list[str] = []
    if args.goal:
        goals: dict[str, Any] = {"metrics": [_goal(text) for text in args.goal]}
        on_data = [metric["name"] for metric in goals["metrics"] if metric["type"] == "accuracy"]
        if on_data:
            if not data:
                raise WorkflowError(f"{on_data[0]} is measured on data", "Name them: --data-name FILE.")
            goals["data_config"] = "calibration"
        made |= {"evaluators": {"goals": goals}, "evaluator": "goals"}
    if data and (on_data or any("data_config" in step for step in choice.passes.values())):
        made["data_configs"] = [{"name": "calibration", **data}]
    made |= sections.system(args)
    made |= {"passes": choice.passes, "seed": args.seed, "layout": "olive"}
    chosen = (
        "" if args.precision or precision == "fp32" else f"; {precision} is the finest that fits into {args.memory}"
    )
    return made, choice.why + chosen


def _fixed(args: argparse.Namespace) -> dict[str, int]:
    """The axes to fix, with their sizes."""
    names = flags.listed(args.dynamic_to_fixed_shape_dim_param) or []
    sizes = flags.listed(args.dynamic_to_fixed_shape_dim_value) or []
    if len(names) != len(sizes) or not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise WorkflowError(
            f"--dim-param names {len(names)} axes, --dim-value has {len(sizes)} sizes"
            if len(names) != len(sizes)
            else f"--dim-value {','.join(sizes)}: a size is a whole number from 1 on",
            "Write one size for each axis: --dim-param batch_size,sequence_length --dim-value 1,128.",
        )
    return {name: int(size) for name, size in zip(names, sizes, strict=True)}


def _precision(memory: str | None, model: dict[str, Any]) -> str:
    """The precision that nobody named: what fits, where it is said how much memory there is."""
    from olive_like.graph.sources import hub_snapshot
    from olive_like.passes.weights import read_folder
    from olive_like.search.rules import precision_for
    from olive_like.systems.local import bytes_of

    if not memory or model["type"] != "HfModel":
        return "fp32"
    folder = Path(model["model_path"])
    found = folder if folder.is_dir() else hub_snapshot(model["model_path"])
    weights = read_folder(found) if found else {}
    try:
        room = int(bytes_of(memory))
    except ValueError as error:
        raise WorkflowError(f"--memory: {error}") from None
    return precision_for(room, sum(tensor.elements for tensor in weights.values())) if weights else "fp32"


def _exporter(args: argparse.Namespace) -> str | None:
    if args.use_ort_genai or args.use_model_builder:
        return "model_builder"
    if args.use_dynamo_exporter:
        return "dynamo_exporter"
    return None if args.exporter == "optimum_exporter" else args.exporter


def _overruled(args: argparse.Namespace) -> list[str]:
    """Flags that name another exporter than the one that is taken."""
    said = {
        "--exporter": args.exporter,
        "--use-ort-genai": "model_builder" if args.use_ort_genai else None,
        "--use-model-builder": "model_builder" if args.use_model_builder else None,
        "--use-dynamo-exporter": "dynamo_exporter" if args.use_dynamo_exporter else None,
    }
    return [flag for flag, exporter in said.items() if exporter not in (None, _exporter(args))]


def _family(model: dict[str, Any]) -> str:
    """The kind of model, by the task that was said or by its config."""
    from olive_like.graph.sources import hub_snapshot
    from olive_like.passes.tasks import normal, read_config, task_of
    from olive_like.search.rules import family_of

    if model["type"] == "OnnxModel":
        return "onnx"
    if model.get("task"):
        return family_of(normal(model["task"]))
    if model["type"] != "HfModel":
        return "other"
    folder = Path(model["model_path"])
    found = folder if folder.is_dir() else hub_snapshot(model["model_path"])
    # A hub model that is not here yet: most of what people optimise are language models, and the plan says so.
    return family_of(task_of(read_config(found))) if found else "language"


def _goal(text: str) -> dict[str, Any]:
    from olive_like.metrics.catalog import DEFAULTS, shorthand

    name, _, value = text.partition("=")
    meaning = shorthand(name)
    try:
        bound = float(value)
    except ValueError:
        raise WorkflowError(f"--goal {text} is not METRIC=VALUE", "Write --goal latency=20.") from None
    if meaning is None or meaning[0] == "custom":
        raise WorkflowError(f"there is no metric {name!r}", "Write --goal latency=20 or --goal size_on_disk=100000000.")
    kind, sub = meaning
    goal = {"name": sub or DEFAULTS[kind], "goal": {"type": "threshold", "value": bound}}
    return {"name": name, "type": kind, "sub_types": [goal]}
