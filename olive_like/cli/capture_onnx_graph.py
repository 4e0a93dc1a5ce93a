"""`olive-like capture-onnx-graph`: convert a model to ONNX."""

from __future__ import annotations

import argparse
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

_OF_BUILDER = ("int4_block_size", "int4_accuracy_level", "exclude_embeds", "exclude_lm_head", "enable_cuda_graph")
_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    group = parser.add_argument_group("how to convert")
    group.add_argument("--conversion-device", choices=("cpu", "gpu"), default="cpu", help="where to trace the model")
    flags.switch(group, "--use-dynamo-exporter", help="torch.export")
    flags.switch(group, "--use-model-builder", help="onnxruntime-genai's builder (language models)")
    flags.switch(group, "--use-ort-genai", help="the same")
    group.add_argument("--torch-dtype", help="float32, float16 or bfloat16")
    group.add_argument("--target-opset", type=int, default=20, metavar="N", help="default: 20")
    group.add_argument(
        "--past-key-value-name", default="past_key_values", metavar="NAME", help="prefix of cache inputs"
    )
    group.add_argument("--fixed-param-dict", metavar="NAME=SIZE,…", help="axes to fix")
    group.add_argument("--precision", choices=("fp32", "fp16", "bf16", "int8", "int4"), help="with the builder: fp16")
    group.add_argument("--int4-block-size", type=int, choices=(16, 32, 64, 128, 256), metavar="N")
    group.add_argument("--int4-accuracy-level", type=int, choices=range(5), metavar="N")
    for name in ("--exclude-embeds", "--exclude-lm-head", "--enable-cuda-graph"):
        flags.switch(group, name, help="handed to the builder")
    group.add_argument("--extra-mb-options", metavar="NAME=VALUE,…", help="more options for the builder")
    flags.output(parser, "onnx-model")


def execute(args: argparse.Namespace) -> int:
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the flags."""
    builder = args.use_model_builder or args.use_ort_genai
    passes: dict[str, Any] = {"convert": _builder(args) if builder else _conversion(args)}
    if args.fixed_param_dict:
        axes = flags.pairs(args.fixed_param_dict, "--fixed-param-dict")
        odd = next((f"{name}={size}" for name, size in axes.items() if type(size) is not int), None)
        if odd:
            raise WorkflowError(f"--fixed-param-dict {odd}: a size is a whole number")
        passes["fix"] = {"type": "DynamicToFixedShape", "dim_param": list(axes), "dim_value": list(axes.values())}
    systems = {"systems": {"gpu": {"type": "cuda"}}, "system": "gpu"} if args.conversion_device == "gpu" else {}
    return {"input_model": sections.input_model(args), **systems, "passes": passes, "layout": "olive"}


def _conversion(args: argparse.Namespace) -> dict[str, Any]:
    if given := [name for name in (*_OF_BUILDER, "extra_mb_options") if _is_given(args, name)]:
        raise WorkflowError(f"--{given[0].replace('_', '-')} is for the builder", "Add --use-model-builder.")
    if args.precision not in (None, "fp32", "fp16", "bf16"):
        raise WorkflowError(
            f"--precision {args.precision} needs the builder", "Add --use-model-builder, or quantise after."
        )
    step: dict[str, Any] = {
        "type": "OnnxConversion",
        "target_opset": args.target_opset,
        "past_key_value_name": args.past_key_value_name,
    }
    dtype = args.torch_dtype or {"fp16": "float16", "bf16": "bfloat16"}.get(args.precision or "")
    return (
        step
        | ({"torch_dtype": dtype} if dtype else {})
        | ({"use_dynamo_exporter": True} if args.use_dynamo_exporter else {})
    )


def _builder(args: argparse.Namespace) -> dict[str, Any]:
    precision = args.precision or (args.torch_dtype and _PRECISIONS.get(args.torch_dtype, args.torch_dtype)) or "fp16"
    step: dict[str, Any] = {"type": "ModelBuilder", "precision": precision}
    for name in _OF_BUILDER:
        if _is_given(args, name):
            step[name] = getattr(args, name)
    if args.extra_mb_options:
        step["extra_options"] = flags.pairs(args.extra_mb_options, "--extra-mb-options")
    return step


def _is_given(args: argparse.Namespace, name: str) -> bool:
    """Whether a flag was given; a number may be 0."""
    value = getattr(args, name)
    return value is not None and value is not False
