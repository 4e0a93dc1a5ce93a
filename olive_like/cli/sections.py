"""From flags to the sections of a workflow."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from olive_like.cli.flags import listed, pairs, required
from olive_like.data.places import FORMATS, ending
from olive_like.errors import WorkflowError

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "gpu": "CUDAExecutionProvider",
    "npu": "QNNExecutionProvider",
}
_ENDING = "ExecutionProvider"
_KNOWN_PROVIDERS = (  # onnxruntime's
    "CPU", "CUDA", "Tensorrt", "NvTensorRTRTX", "Dml", "MIGraphX", "ROCM", "OpenVINO", "QNN", "VitisAI", "WebGpu",
    "CoreML", "Xnnpack", "Dnnl", "Nnapi", "ACL", "ArmNN", "Azure", "CANN", "Snpe", "TVM", "WebNN", "JS",
)  # fmt: skip


def input_model(args: argparse.Namespace) -> dict[str, Any]:
    """The model that the flags name: an ONNX file, a script, or a Hugging Face model."""
    script = getattr(args, "model_script", None)
    name = args.model_name_or_path
    if script:
        return _given(type="PyTorchModel", model_path=name, model_script=script, script_dir=args.script_dir,
                      task=args.task)  # fmt: skip
    from olive_like.workflow.models import can_only_be_local  # brings pydantic, which --help does without

    name = required(name, "--model-name-or-path")
    if can_only_be_local(name) and not Path(name).expanduser().exists():
        raise WorkflowError(f"there is no model {name}", "Name a local folder or file, or a model on the hub.")
    adapter = getattr(args, "adapter_path", None)
    if (tuned := Path(name) / "model" / "config.json").is_file() and not (Path(name) / "config.json").exists():
        # What `finetune` wrote, named as a whole: the model, and the adapter beside it.
        beside = Path(name) / "adapter"
        if hasattr(args, "adapter_path") and (beside / "adapter_config.json").is_file():
            adapter = adapter or str(beside)
        name = str(tuned.parent)
    if args.test:
        from olive_like.cli import test_model

        print(f"test: a tiny model with random weights in place of {name}", file=sys.stderr)
        if adapter:
            say_left_out(adapter)
        name, adapter = str(test_model.tiny(name, args.task, getattr(args, "cache_dir", None))), None
    if name.endswith(".onnx") or is_onnx_folder(Path(name)):
        return {"type": "OnnxModel", "model_path": name}
    return _given(
        type="HfModel",
        model_path=name,
        task=args.task,
        adapter_path=adapter,
        load_kwargs={"trust_remote_code": True} if args.trust_remote_code else None,
    )


def say_left_out(adapter: str) -> None:
    """An adapter is of the shapes of the model that it was trained on."""
    print(f"test: the adapter {adapter} is left out, as it does not fit a tiny model", file=sys.stderr)


def model_overrides(file: str, args: argparse.Namespace) -> list[str]:
    """What the flags put in place of a workflow's input model, as `--set` takes it."""
    from olive_like.workflow.loader import load

    tree: dict[str, Any] = load(file).tree or {}
    section = "model" if "model" in tree and "input_model" not in tree else "input_model"
    found = tree.get(section)
    written: dict[str, Any] = found if isinstance(found, dict) else {}
    inner = written.get("config")
    settings: dict[str, Any] = inner if isinstance(inner, dict) else written
    name = args.model_name_or_path
    values = _given(
        type="HfModel" if name and "type" not in written else None,
        model_path=_from_here(name),
        task=args.task,
        adapter_path=_from_here(args.adapter_path),
        model_script=_from_here(args.model_script),
        script_dir=_from_here(args.script_dir),
        load_kwargs={**(settings.get("load_kwargs") or {}), "trust_remote_code": True}
        if args.trust_remote_code
        else None,
    )
    return [f"{section}.{key}={json.dumps(value)}" for key, value in values.items()]


def _from_here(path: str | None) -> str | None:
    """A path on the command line counts from the current folder, one in a workflow from the workflow's."""
    return str(Path(path).absolute()) if path and Path(path).exists() else path


def is_onnx_folder(folder: Path) -> bool:
    """Whether a local folder holds an ONNX model."""
    return folder.is_dir() and any(folder.glob("*.onnx"))


def data_config(args: argparse.Namespace, **more: Any) -> dict[str, Any] | None:
    """The data set that the flags name, if they name one."""
    if not args.data_name and not args.data_files:
        return None
    for place in [args.data_name, *(listed(args.data_files) or ())]:
        if place and not _is_inside(args, place):
            must_be_there(place)
    return _given(
        source=args.data_name,
        files=listed(args.data_files),
        text_field=args.text_field,
        text_template=args.text_template,
        chat_template=True if args.use_chat_template else None,
        max_seq_len=args.max_seq_len,
        max_samples=args.max_samples,
        add_special_tokens=True if args.add_special_tokens else None,
        input_cols=listed(args.input_cols),
        label_cols=listed(args.label_cols),
        columns={key: str(value) for key, value in pairs(args.columns, "--columns").items()} if args.columns else None,
        **more,
    )


def must_be_there(data: str) -> None:
    """Refuse what has the name of a data file and is none."""
    if ending(Path(data)) in FORMATS and not Path(data).expanduser().exists():
        raise WorkflowError(f"there is no data file {data}", "Name a local file or folder, or a hub name.")


def _is_inside(args: argparse.Namespace, file: str) -> bool:
    """Whether a data file is one of the data set's own, or a pattern."""
    return bool(set("*?[") & set(file)) or bool(args.data_name and args.data_name != file)


def system(args: argparse.Namespace) -> dict[str, Any]:
    """The systems section and the default system; nothing where this machine's CPU is meant."""
    if args.device in (None, "cpu") and not args.provider and not args.memory:
        return {}
    named = provider_of(args)
    device = args.device or ("gpu" if named == _PROVIDERS["gpu"] else "cpu")
    provider = named or _PROVIDERS[device]
    accelerator = _given(device=device, execution_providers=[provider], memory=args.memory)
    kind = "cuda" if device == "gpu" and provider == "CUDAExecutionProvider" else "local"
    if device != "cpu" and kind == "local":
        raise WorkflowError(
            f"nothing here makes models for {device} with {provider}", "Use --device cpu, or gpu with CUDA."
        )
    return {"systems": {"target": {"type": kind, "accelerators": [accelerator]}}, "system": "target"}


def provider_of(args: argparse.Namespace) -> str | None:
    """The whole name of the provider that the flags name; one that onnxruntime does not have is an error."""
    if not args.provider:
        return None
    from olive_like.diagnostics.nearest import did_you_mean

    short = args.provider.removesuffix(_ENDING)
    known = {one.lower(): one + _ENDING for one in _KNOWN_PROVIDERS}
    if short.lower() not in known:
        near = did_you_mean(short, _KNOWN_PROVIDERS) or f"Known: {', '.join(_KNOWN_PROVIDERS)}."
        raise WorkflowError(f"onnxruntime has no provider {args.provider!r}", near)
    return known[short.lower()]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
