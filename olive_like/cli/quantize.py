"""`olive-like quantize`: quantise a Hugging Face or ONNX model with a named algorithm."""

from __future__ import annotations

import argparse
from typing import Any

from olive_like.cli import carry_out, flags, sections, unheeded
from olive_like.errors import WorkflowError

# algorithm -> pass for Hugging Face models, pass for ONNX models
_ALGORITHMS: dict[str, tuple[str | None, str | None]] = {
    "rtn": ("Rtn", "OnnxBlockWiseRtnQuantization"),
    "gptq": ("Gptq", "OnnxGptq"),
    "awq": ("AutoAWQQuantizer", None),
    "learned": ("LearnedRounding", None),
    "hqq": ("Hqq", "OnnxHqqQuantization"),
    "kquant": ("KQuant", "OnnxKQuantQuantization"),
    "quarot": ("QuaRot", None),
    "spinquant": ("SpinQuant", None),
    "dynamic": (None, "OnnxDynamicQuantization"),
    "static": (None, "OnnxStaticQuantization"),
}
_BITS = {"int2": 2, "int3": 3, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8}


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    group = parser.add_argument_group("what to make")
    group.add_argument("--algorithm", choices=_ALGORITHMS, default="rtn", help="default: rtn")
    group.add_argument("--precision", choices=_BITS, default="int8", help="type of the weights; default: int8")
    group.add_argument("--act-precision", default="int8", help="type of activations, where they are quantised")
    group.add_argument("--implementation", default="olive", help=argparse.SUPPRESS)
    group.add_argument("--group-size", "--block-size", type=int, metavar="N", help="weights that share a scale")
    flags.switch(group, "--use-qdq-encoding", help="quantise/dequantise pairs")
    flags.data(parser)
    parser.add_argument("--split", metavar="SPLIT", help="rows to calibrate with")
    parser.add_argument("--subset", metavar="NAME", help="configuration of a hub data set")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows per batch")
    flags.device(parser)
    flags.output(parser, "quantized-model")


def execute(args: argparse.Namespace) -> int:
    made = workflow(args)
    rest = unheeded.unheeded(configure, lambda changed: _around(changed, made["input_model"]), args)
    unheeded.say(rest, f"--algorithm {args.algorithm} for a model of type {made['input_model']['type']}")
    return carry_out.carry_out(made, args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the flags."""
    return _around(args, sections.input_model(args))


def _around(args: argparse.Namespace, model: dict[str, Any]) -> dict[str, Any]:
    """The workflow for a model; data that nothing reads are not in it."""
    more = {k: v for k, v in (("split", args.split), ("subset", args.subset), ("batch_size", args.batch_size)) if v}
    data = sections.data_config(args, **more)
    passes = _passes(args, model, data)
    made: dict[str, Any] = {"input_model": model}
    if data and any("data_config" in step for step in passes.values()):
        made["data_configs"] = [{"name": "calibration", **data}]
    return {**made, **sections.system(args), "passes": passes, "seed": args.seed, "layout": "olive"}


def _passes(args: argparse.Namespace, model: dict[str, Any], data: Any) -> dict[str, Any]:
    onnx = model["type"] == "OnnxModel"
    kind = _ALGORITHMS[args.algorithm][onnx]
    if kind is None:
        other = "ONNX" if onnx else "Hugging Face"
        here = [name for name, kinds in _ALGORITHMS.items() if kinds[onnx]]
        raise WorkflowError(f"{args.algorithm} is not for {other} models", f"There are: {', '.join(here)}.")
    steps: dict[str, Any] = {"merge": {"type": "MergeAdapterWeights"}} if "adapter_path" in model else {}
    step: dict[str, Any] = {"type": kind}
    if args.algorithm in ("dynamic", "static"):
        step["precision"] = args.precision
    elif args.algorithm in ("quarot", "spinquant"):
        steps["rotate"] = step
        step = {"type": "Rtn", "bits": _BITS[args.precision]}
    elif args.algorithm != "hqq" or not onnx:
        step["bits"] = _BITS[args.precision]
    elif args.precision not in ("int4", "uint4"):
        raise WorkflowError("hqq on ONNX models makes 4 bits only", "Use --precision int4, or --algorithm rtn.")
    if args.algorithm == "static":
        step |= {"activation_type": args.act_precision, "quant_format": "QDQ" if args.use_qdq_encoding else "QOperator"}
    if args.group_size:
        name = "block_size" if onnx else "q_group_size" if kind == "AutoAWQQuantizer" else "group_size"
        step[name] = args.group_size
    if data and args.algorithm in ("gptq", "awq", "learned", "static"):
        step["data_config"] = "calibration"
    steps["quantize"] = step
    if onnx and args.use_qdq_encoding and args.algorithm not in ("dynamic", "static"):
        steps["qdq"] = {"type": "MatMulNBitsToQDQ"}
    return steps
