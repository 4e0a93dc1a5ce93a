"""`olive-like init`: a first workflow, asked for in a few questions, or by flags alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

_METHODS = {
    "lora": "LoRA", "qlora": "QLoRA", "dora": "DoRA", "full": "FullFinetune", "none": None,
}  # fmt: skip
_TARGETS = {
    "none": "keep the Hugging Face form",
    "onnx": "ONNX",
    "onnx-int8": "ONNX, weights in 8 bits",
    "onnx-int4": "ONNX, weights in 4 bits",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output-path", metavar="DIR", help="folder for the workflow; default: olive-output")
    parser.add_argument("-m", "--model-name-or-path", metavar="MODEL", help="a local folder, or a hub name")
    parser.add_argument("-d", "--data-name", metavar="DATA", help="data to train on, local or on the hub")
    parser.add_argument("--text-template", metavar="TEXT", type=flags.unescaped, help="text with {column} fields")
    parser.add_argument("--method", choices=_METHODS, help="how to train; default: lora with data, none without")
    parser.add_argument("--target", choices=_TARGETS, help="what to make; default: onnx-int4")
    flags.switch(parser, "--overwrite", help="replace a workflow that is there")
    flags.switch(parser, "--disable-telemetry", help=argparse.SUPPRESS)


def execute(args: argparse.Namespace) -> int:
    asked = not any((args.model_name_or_path, args.data_name, args.method, args.target))
    if asked:
        if not sys.stdin.isatty():
            raise WorkflowError("there is nobody to ask", "Say it with flags: olive-like init -m MODEL -d DATA")
        _ask(args)
    folder = Path(args.output_path or "olive-output")
    file = folder / carry_out.FILE
    if file.exists() and not args.overwrite:
        raise WorkflowError(f"{file} is there already", "Add --overwrite, or name another folder with -o.")
    if args.data_name:
        sections.must_be_there(args.data_name)
    made = workflow(args)
    from olive_like.workflow.moving import moved
    from olive_like.workflow.read import read

    read(made).require()
    folder.mkdir(parents=True, exist_ok=True)
    text = carry_out.as_yaml({**moved(made, Path.cwd(), folder.absolute()), "output_dir": "outputs"})
    file.write_text("# Made by `olive-like init`.\n" + text, encoding="utf-8")
    print(f"written to {file}; run it with: olive-like run {file}")
    return 0


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the answers."""
    model = flags.required(args.model_name_or_path, "--model-name-or-path")
    method = args.method or ("lora" if args.data_name else "none")
    if method != "none" and not args.data_name:
        raise WorkflowError("--data_name is missing", "Name a data set to train on, or --method none.")
    onnx = model.endswith(".onnx") or sections.is_onnx_folder(Path(model))
    made: dict[str, Any] = {"input_model": {"type": "OnnxModel" if onnx else "HfModel", "model_path": model}}
    passes: dict[str, Any] = {}
    if method != "none":
        template = {"text_template": args.text_template} if args.text_template else {}
        made["data_configs"] = [{"name": "train", "source": args.data_name, **template, "eval_fraction": 0.1}]
        passes["tune"] = {"type": _METHODS[method], "train_data_config": "train"}
        if method != "full":
            passes["merge"] = {"type": "MergeAdapterWeights"}
    target = args.target or "onnx-int4"
    if target != "none" and not onnx:
        passes["onnx"] = {"type": "OnnxConversion"}
    if target.startswith("onnx-int"):
        passes["quantize"] = {"type": "OnnxBlockWiseRtnQuantization", "bits": int(target[-1])}
    if not passes:
        raise WorkflowError("there would be nothing to do", "Choose a --method or a --target.")
    return {**made, "passes": passes}


def _ask(args: argparse.Namespace) -> None:
    print("A few questions; Enter takes what stands in brackets.")
    args.model_name_or_path = _answer("Model (a folder, or a hub name)", None)
    args.data_name = _answer("Data to train on (a file, a folder, a hub name; empty: do not train)", "")
    if args.data_name:
        args.method = _choice("How to train", [name for name in _METHODS if name != "none"], "lora")
    args.target = _choice("What to make", list(_TARGETS), "onnx-int4")
    args.output_path = args.output_path or _answer("Folder for the workflow", "olive-output")


def _answer(question: str, default: str | None) -> str:
    while True:
        try:
            text = input(f"{question}{f' [{default}]' if default else ''}: ").strip()
        except EOFError:
            raise WorkflowError("the questions were not answered") from None
        if text or default is not None:
            return text or str(default)


def _choice(question: str, names: list[str], default: str) -> str:
    while True:
        text = _answer(f"{question} ({', '.join(names)})", default)
        if text in names:
            return text
