"""Loading of models and tokenizers: from safetensors, without remote code, with errors one can act on."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from olive_like.artifacts import Adapter, Artifact, HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.tasks import AUTO_CLASSES, normal, read_config, task_of
from olive_like.passes.weights import check_folder, read_folder

# What heads are called: that a base model lacks the weights of one is what fine-tuning is for.
_HEADS = ("classifier", "classification", "score", "qa_outputs", "pooler")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
)


def quiet() -> None:
    """Keep transformers' bars and load reports out of a pass's log: what matters is raised or noted."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def torch_dtype(name: str | torch.dtype) -> torch.dtype | str:
    """`"bf16"` and its like as torch's type; "auto" stays."""
    if not isinstance(name, str):
        return name
    short = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
    found = getattr(torch, short.get(name, name), None)
    if name == "auto":
        return name
    if not isinstance(found, torch.dtype):
        raise PassError(f"{name!r} is no type of numbers", "Use float32, bfloat16, float16 or auto.")
    return found


def base_of(artifact: Artifact) -> HfModel:
    """The model itself, or what an adapter stands on."""
    if isinstance(artifact, Adapter):
        return artifact.base
    if isinstance(artifact, HfModel):
        return artifact
    raise PassError(f"a Hugging Face model or an adapter is needed, not {artifact.kind}")


def tokenizer_folder(artifact: Artifact) -> Path | None:
    """The folder whose tokenizer belongs to the artifact; an adapter's own comes first."""
    folders = [artifact.path, artifact.base.path] if isinstance(artifact, Adapter) else [artifact.path]
    return next((f for f in folders if any((f / name).exists() for name in _TOKENIZER_FILES)), None)


def load_tokenizer(artifact: Artifact) -> Any:
    """The tokenizer of a model or adapter."""
    folder = tokenizer_folder(artifact)
    if folder is None:
        raise PassError(f"{artifact.path} has no tokenizer", "Put tokenizer.json and tokenizer_config.json there.")
    trust = bool(artifact.attributes.get("load_kwargs", {}).get("trust_remote_code", False))
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PassError(f"the tokenizer in {folder} cannot be loaded: {_line(error)}") from error


def task_for(artifact: Artifact, task: str | None = None) -> str:
    """The task by the user's word, else the artifact's, else the architecture's."""
    said = task or getattr(artifact, "task", None)
    return normal(said) if said else task_of(read_config(base_of(artifact).path))


def load_config(artifact: Artifact) -> Any:
    """The config as transformers sees it."""
    base = base_of(artifact)
    trust = bool(base.load_kwargs.get("trust_remote_code", False))
    try:
        return AutoConfig.from_pretrained(base.path, trust_remote_code=trust, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PassError(f"the config in {base.path} cannot be loaded: {_line(error)}", _trust_hint(error)) from error


def load_model(
    artifact: Artifact,
    task: str | None = None,
    dtype: str | torch.dtype = "auto",
    *,
    device: str = "cpu",
    attention: str | None = None,
    new_head: bool = False,
    **options: Any,
) -> Any:
    """The model, in evaluation mode; an adapter comes as a PeftModel on its base.

    Weights that the folder lacks are an error, except a task's head where `new_head` allows it to be made anew.
    """
    base = base_of(artifact)
    if isinstance(artifact, Adapter):
        options = _head_of(artifact) | options
    model = _load_base(
        base, task_for(artifact, task), dtype, attention, new_head or isinstance(artifact, Adapter), options
    )
    if isinstance(artifact, Adapter):
        model = attach_adapter(model, artifact.path)
    return model.to(device).eval() if not getattr(model, "is_loaded_in_4bit", False) else model.eval()


def shared_model(artifact: Artifact, task: str | None, context: Context) -> Any:
    """The model as it is stored, from the worker's memory where an earlier pass has left it. Only to be read."""
    task = task_for(artifact, task)
    if artifact.digest is None:
        return load_model(artifact, task, device=context.device)
    name = _shared_name(artifact.digest, task, context.device)
    return context.loaded(name, lambda: load_model(artifact, task, device=context.device))


def share_model(model: Any, task: str, context: Context) -> None:
    """Leave a model that was just written to the output in memory, for passes that read it next.

    Only where it equals what loading would give: a cast to fewer bits casts tables that loading keeps whole.
    """
    if next(model.parameters()).dtype == torch.float32 and context.device == "cpu":
        context.keep(_shared_name(str(context.output), task, context.device), model.eval())


def _shared_name(identity: str, task: str, device: str) -> str:
    return f"model as stored, {task}, {device}: {identity}"


def attach_adapter(model: PreTrainedModel, folder: Path, trainable: bool = False, name: str = "default") -> Any:
    """Put the adapter of a folder onto its base, after checking that it fits."""
    from peft import PeftModel

    check_folder(folder)
    if not (folder / "adapter_config.json").exists():
        raise PassError(f"{folder} is no adapter: it has no adapter_config.json")
    kind = _check_fits(model, folder)
    if kind == "BOTTLENECK":
        from olive_like.passes.finetune import _bottleneck

        return _bottleneck.attach(model, folder, json.loads((folder / "adapter_config.json").read_text("utf-8")))
    try:
        return PeftModel.from_pretrained(model, str(folder), adapter_name=name, is_trainable=trainable)
    except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise PassError(
            f"the adapter in {folder} does not fit the model: {_line(error)}",
            "It was trained on another base model, or on a model of another size.",
        ) from error


def _head_of(adapter: Adapter) -> dict[str, Any]:
    """The classes of the head that an adapter brings."""
    names = adapter.attributes.get("labels")
    if names:
        classes = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
        return {"num_labels": len(names), **classes, "ignore_mismatched_sizes": True}
    for name, info in read_folder(adapter.path).items():
        if name.endswith(("classifier.weight", "score.weight", "classifier.out_proj.weight")):
            return {"num_labels": info.shape[0], "ignore_mismatched_sizes": True}
    return {}


def _load_base(
    base: HfModel, task: str, dtype: str | torch.dtype, attention: str | None, new_head: bool, options: dict[str, Any]
) -> Any:
    quiet()
    kwargs = {k: v for k, v in base.load_kwargs.items() if k not in ("torch_dtype", "dtype", "device_map")} | options
    pickles = kwargs.pop("use_safetensors", True) is False
    check_folder(base.path, allow_pickle=pickles)
    kwargs["trust_remote_code"] = bool(kwargs.get("trust_remote_code", False))
    if attention:
        kwargs["attn_implementation"] = attention
    cls = getattr(transformers, AUTO_CLASSES[task])
    try:
        if (read_config(base.path).get("quantization_config") or {}).get("quant_method") == "gptq":
            options = options | ({"attn_implementation": attention} if attention else {})
            model, info = _widened(base.path, cls, torch_dtype(dtype), options)
        else:
            model, info = cls.from_pretrained(
                base.path,
                dtype=torch_dtype(dtype),
                local_files_only=True,
                use_safetensors=None if pickles else True,
                weights_only=True,
                output_loading_info=True,
                **kwargs,
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError, UnpicklingError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise PassError(f"{base.path} cannot be loaded for {task}: {_line(error)}", _trust_hint(error)) from error
    missing = [key for key in info["missing_keys"] if not (new_head and _is_of_head(key, model.base_model_prefix))]
    if missing:
        raise PassError(
            f"{base.path} lacks weights that {type(model).__name__} needs: {', '.join(sorted(missing)[:3])}"
            + (f" and {len(missing) - 3} more" if len(missing) > 3 else ""),
            "Is the task right? A head that is to be trained first needs a fine-tuning pass.",
        )
    return model


def _widened(folder: Path, auto: Any, dtype: torch.dtype | str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A model in the GPTQ format with dense weights, and what was missing.

    Transformers needs another package and a GPU for these; the numbers are the same.
    """
    from olive_like.passes.quantize._dequant import class_for, dense_tensors

    config, rest = AutoConfig.from_pretrained(folder, local_files_only=True, return_unused_kwargs=True, **options)
    del config.quantization_config
    if isinstance(dtype, str):
        dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    state = dict(dense_tensors(folder, dtype))
    load = class_for(auto, config).from_pretrained
    model, info = load(None, config=config, state_dict=state, dtype=dtype, output_loading_info=True, **rest)
    return model, info


def _is_of_head(key: str, base: str) -> bool:
    """Whether a weight stands in a head. Layers inside of the blocks may have the names of a head's own layers."""
    part = key.removeprefix(f"{base}.").partition(".")[0]
    return part == "head" or any(name in part for name in _HEADS)


def _check_fits(model: PreTrainedModel, folder: Path) -> str | None:
    """The kind of an adapter, after a check of names and shapes: on another base peft would only warn."""
    modules = dict(model.named_modules())
    prefix = "base_model.model."
    try:
        kind = json.loads((folder / "adapter_config.json").read_text("utf-8")).get("peft_type")
    except ValueError as error:
        raise PassError(f"{folder / 'adapter_config.json'} is not JSON: {error}") from None
    for name, info in read_folder(folder).items():
        if not name.startswith(prefix):
            continue
        path, _, leaf = name[len(prefix) :].partition(".lora_")
        if not leaf:
            continue
        layer = modules.get(path)
        if layer is None:
            raise PassError(
                f"the adapter in {folder} is for another base model: this one has no layer {path}",
                f"The model is {type(model).__name__} of {model.config.model_type}.",
            )
        if kind != "LORA" or not leaf.startswith(("A.weight", "B.weight")) or len(info.shape) != 2:
            continue
        wanted = _features(layer)[0 if leaf.startswith("A") else 1]
        have = info.shape[1 if leaf.startswith("A") else 0]
        if wanted is not None and wanted != have:
            raise PassError(
                f"the adapter in {folder} is for another base model: {path} is {wanted} wide here, {have} there"
            )
    return str(kind) if kind else None


def _features(layer: Any) -> tuple[int | None, int | None]:
    if hasattr(layer, "in_features"):
        return layer.in_features, layer.out_features
    if type(layer).__name__ == "Conv1D":
        return layer.nx, layer.nf
    return None, None


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _trust_hint(error: BaseException) -> str:
    if "trust_remote_code" in str(error):
        return "The model brings its own code. To let it run: `load_kwargs: {trust_remote_code: true}`."
    return ""
