"""`olive-like generate-adapter`: one ONNX model, and adapters beside it that are switched on for a request."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

_FORMATS = ("onnx_adapter", "safetensors", "numpy", "pt")


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser, adapter=False)
    group = parser.add_argument_group("adapters")
    group.add_argument("--base-model-path", metavar="MODEL", help="the base of the adapters (the same as -m)")
    group.add_argument("-a", "--adapter-paths", "--adapter-path", metavar="DIRS",
                       help="peft adapters over the base, with commas between; without them, MODEL is an ONNX model "
                       "that was exported with its adapter apart")  # fmt: skip
    group.add_argument("--adapter-names", metavar="NAMES", help="their names; default: those of their folders")
    group.add_argument("--adapter-type", choices=("lora", "dora", "loha"), default="lora", help=argparse.SUPPRESS)
    group.add_argument("--adapter-format", choices=_FORMATS, default="onnx_adapter", help="default: onnx_adapter")
    group.add_argument("--torch-dtype", help="float32, float16 or bfloat16; default: float32")
    group.add_argument("--target-opset", type=int, metavar="N", help="default: 20")
    flags.output(parser, "optimized-model")


def execute(args: argparse.Namespace) -> int:
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the flags."""
    args.model_name_or_path = args.model_name_or_path or args.base_model_path
    if not args.model_name_or_path:
        raise WorkflowError("--base_model_path is missing", "Name the model that the adapters stand on.")
    model = sections.input_model(args)
    if model["type"] == "OnnxModel":
        if args.adapter_paths:
            raise WorkflowError(
                "--adapter-paths needs the base as a Hugging Face model, not ONNX",
                "Name the model that the adapters were trained on with --base-model-path.",
            )
        step: dict[str, Any] = {"type": "ExtractAdapters", "adapter_type": args.adapter_type}
    else:
        if not args.adapter_paths:
            raise WorkflowError("--adapter_paths is missing", "Name the adapters' folders, with commas between.")
        step = {"type": "MultiAdapterConversion", "adapters": adapters(args.adapter_paths, args.adapter_names)}
        step |= {name: getattr(args, name) for name in ("torch_dtype", "target_opset") if getattr(args, name)}
    step["save_format"] = args.adapter_format
    return {"input_model": model, "passes": {"adapters": step}, "seed": args.seed, "layout": "olive"}


def adapters(paths: str, names: str | None) -> dict[str, Any]:
    """Name -> folder of each adapter; what `finetune` wrote is taken as it stands."""
    folders = [Path(path) for path in flags.listed(paths) or ()]
    chosen = flags.listed(names) or [folder.name for folder in folders]
    if len(chosen) != len(folders):
        raise WorkflowError(f"--adapter-names has {len(chosen)} names for {len(folders)} adapters")
    if twice := [name for name in chosen if chosen.count(name) > 1]:
        raise WorkflowError(f"two adapters are called {twice[0]}", "Name each: --adapter-names a,b")
    return {name: {"adapter_path": str(adapter_folder(folder))} for name, folder in zip(chosen, folders, strict=True)}


def adapter_folder(folder: Path) -> Path:
    """The folder of the adapter itself: `finetune` puts it into `adapter`, beside the model."""
    for place in (folder, folder / "adapter"):
        if (place / "adapter_config.json").is_file():
            return place
    if not folder.is_dir():
        raise WorkflowError(f"there is no folder {folder}", "Train the adapter first: olive-like finetune.")
    raise WorkflowError(f"{folder} is no adapter: it has no adapter_config.json")
