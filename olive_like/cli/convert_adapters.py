"""`olive-like convert-adapters`: a peft adapter as a file that an ONNX model takes its inputs from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from olive_like.cli import flags
from olive_like.cli.generate_adapter import adapter_folder
from olive_like.cli.silent import silent
from olive_like.errors import WorkflowError

FORMATS = ("onnx_adapter", "safetensors", "numpy", "pt")
_SUFFIXES = (".onnx_adapter", ".safetensors", ".npz")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--adapter-path", metavar="DIR", help="a peft adapter, or what finetune wrote")
    parser.add_argument("-o", "--output-path", metavar="FILE", help="the file to write; its suffix is the format's")
    parser.add_argument("--adapter-format", choices=FORMATS, default="onnx_adapter", help="default: onnx_adapter")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="default: float32")
    flags.switch(parser, "--quantize-int4", help=argparse.SUPPRESS)
    for name in ("--int4-block-size", "--int4-quantization-mode"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    flags.accepted(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    folder = adapter_folder(Path(flags.required(args.adapter_path, "--adapter-path")))
    target = Path(flags.required(args.output_path, "--output-path"))
    if args.quantize_int4:
        raise WorkflowError("adapters are not quantised: they are small already", "Use --dtype float16.")
    if target.suffix in _SUFFIXES:
        target = target.with_suffix("")
    with silent():
        from olive_like.passes._adapter_convert import convert_adapter

        written = convert_adapter(folder, target, args.adapter_format, args.dtype)
    print(json.dumps({"adapter": str(written)}) if args.json else f"adapter: {written}")
    return 0
