"""From a model in memory to a checked ONNX folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from olive_like.artifacts import Adapter, HfModel, OnnxModel, PyTorchModel
from olive_like.errors import PassError
from olive_like.passes._models import load_model, task_for, torch_dtype
from olive_like.passes._onnx_files import finish, save_ir
from olive_like.passes.base import Context
from olive_like.passes.convert._check_export import verify_export
from olive_like.passes.convert._decoder import decoder_part
from olive_like.passes.convert._export import export
from olive_like.passes.convert._parts import Part
from olive_like.passes.convert._side_files import write_side_files
from olive_like.passes.convert._single import single_part

_BESIDE = 128 << 20  # from here on, weights stand beside the graph: passes that change none need not read them


def convert(source: HfModel | Adapter | PyTorchModel, config: Any, context: Context) -> OnnxModel:
    """Load, export, save, describe, compare."""
    if isinstance(source, PyTorchModel):
        raise PassError("not yet")
    task = task_for(source)
    device = config.device or context.device
    model = _load(source, task, config, device)
    dtype = next(model.parameters()).dtype
    parts = _parts(model, task, dtype, config)
    for part in parts:
        graph = export(part, config.target_opset, config.use_dynamo_exporter, config.optimize, context)
        _save(graph, context.output / part.file, config)
        del graph
    write_side_files(source, model, context.output)
    attributes = _attributes(parts, model, task, dtype)
    result = finish(context, OnnxModel(context.output), attributes)
    verified = verify_export(result, parts, model, task, config, context)
    return OnnxModel(context.output, {**result.attributes, **({"verified": verified} if verified else {})})


def _load(source: HfModel | Adapter, task: str, config: Any, device: str) -> Any:
    wanted = torch_dtype(config.torch_dtype or "float32")
    model = load_model(source, task, wanted, device=device, attention=_attention(source, task, config))
    if isinstance(source, Adapter):
        model = model.merge_and_unload() if config.merge_adapter_weights else model.base_model.model
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def _attention(source: HfModel | Adapter, task: str, config: Any) -> str | None:
    """Eager attention for what TorchScript exports: it is the form that attention fusion knows."""
    base = source.base if isinstance(source, Adapter) else source
    if "attn_implementation" in base.load_kwargs:
        return None
    text = task not in ("text-generation", "text2text-generation", "automatic-speech-recognition")
    return "eager" if text and not config.use_dynamo_exporter and config.target_opset <= 20 else "sdpa"


def _parts(model: Any, task: str, dtype: torch.dtype, config: Any) -> list[Part]:
    sequence = None if config.dynamic else config.fixed_sequence_length
    if task == "text-generation":
        return [decoder_part(model, dtype, config.past_key_value_name, sequence)]
    return [single_part(model, dtype, sequence)]


def _save(graph: Any, path: Path, config: Any) -> None:
    total = sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value)
    settings = config
    if config.save_as_external_data is None:
        settings = config.model_copy(update={"save_as_external_data": total >= _BESIDE})
    save_ir(graph, path, settings)


def _attributes(parts: list[Part], model: Any, task: str, dtype: torch.dtype) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "file": parts[-1].file,
        "task": task,
        "model_type": model.config.model_type,
        "dtype": str(dtype).removeprefix("torch."),
    }
    for part in parts:
        attributes.update(part.attributes)
    if len(parts) > 1:
        attributes["components"] = [{"name": part.name, "file": part.file} for part in parts]
    return attributes
