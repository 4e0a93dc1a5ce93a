"""From a model in memory to a checked ONNX folder."""

from __future__ import annotations

from typing import Any

import torch

from olive_like.artifacts import Adapter, HfModel, OnnxModel, PyTorchModel
from olive_like.errors import PassError
from olive_like.passes._memory import release_memory
from olive_like.passes._models import load_model, task_for, torch_dtype
from olive_like.passes._onnx_files import finish, save_ir
from olive_like.passes._user_script import load_script
from olive_like.passes.base import Context
from olive_like.passes.convert._carried import carried
from olive_like.passes.convert._check_export import verify_export
from olive_like.passes.convert._decoder import decoder_part
from olive_like.passes.convert._encoder_decoder import encoder_decoder_parts
from olive_like.passes.convert._export import export
from olive_like.passes.convert._parts import Part, text_ids
from olive_like.passes.convert._scripted import is_described, load_scripted, scripted_part
from olive_like.passes.convert._side_files import write_side_files
from olive_like.passes.convert._single import single_part
from olive_like.passes.convert._switchable import install, matrices_of

_BESIDE = 128 << 20  # from here on, weights stand beside the graph: passes that change none need not read them


def convert(
    source: HfModel | Adapter | PyTorchModel, config: Any, context: Context, only: list[str] | None = None
) -> OnnxModel:
    """Load, export, save, describe, compare; `only` names the graphs to export of a model of several."""
    device = config.device or context.device
    model, parts, attributes = _prepared(source, config, device, only)
    for part in parts:
        graph = export(part, config.target_opset, config.use_dynamo_exporter, config.optimize, context)
        save(graph, part, len(parts), config, context)
        del graph
    release_memory()  # of what the exporter made on its way
    if isinstance(source, (HfModel, Adapter)):
        write_side_files(source, model, context.output)
    result = finish(context, OnnxModel(context.output), attributes)
    # A script may make another model the next time.
    scripted = isinstance(source, PyTorchModel) or source.attributes.get("model_loader")
    again = None if scripted else (lambda: _prepared(source, config, device, only)[:2])
    verified = verify_export(result, parts, model, config, context, again)
    return OnnxModel(context.output, {**result.attributes, **({"verified": verified} if verified else {})})


def _prepared(
    source: HfModel | Adapter | PyTorchModel, config: Any, device: str, only: list[str] | None
) -> tuple[Any, list[Part], dict[str, Any]]:
    """The model in memory, its graphs-to-be, and what is known of them."""
    task = source.attributes.get("task", "custom") if isinstance(source, PyTorchModel) else task_for(source)
    script: Any = None
    if isinstance(source, PyTorchModel) or source.attributes.get("model_loader"):
        assert isinstance(source, (PyTorchModel, HfModel))
        model, script = load_scripted(source)
        wanted = torch_dtype(config.torch_dtype) if config.torch_dtype not in (None, "auto") else None
        model = model.to(device) if wanted is None else model.to(device, wanted)
    else:
        model = _load(source, task, config, device)
        script = load_script(source.attributes)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    if isinstance(source, PyTorchModel) or is_described(source):
        parts = [scripted_part(model, script, source, dtype if config.torch_dtype else None)]
    else:
        parts = parts_of(model, task, dtype, config, source)
    if only is not None:
        known = [part.name for part in parts]
        unknown = [name for name in only if name not in known]
        if unknown:
            raise PassError(f"the model has no part {', '.join(unknown)}", f"It has: {', '.join(known)}.")
        parts = [part for part in parts if part.name in only]
    return model, parts, described(parts, model, task, dtype) | carried(source)


def _load(source: HfModel | Adapter, task: str, config: Any, device: str) -> Any:
    wanted = torch_dtype(config.torch_dtype or "float32")
    model = load_model(source, task, wanted, device=device, attention=attention_for(source, task, config))
    if isinstance(source, Adapter) and hasattr(model, "peft_config"):  # networks of their own stay what they are
        model = model.merge_and_unload() if config.merge_adapter_weights else _apart(model, wanted)
    return model.eval()


def _apart(tuned: Any, wanted: torch.dtype | str) -> Any:
    """The model with an adapter's matrices as weights of their own; what is no such sum stays as peft has it."""
    if tuned.peft_config["default"].peft_type.value != "LORA" or tuned.peft_config["default"].modules_to_save:
        return tuned.base_model.model
    layers = matrices_of(tuned)
    model = tuned.unload()
    dtype = wanted if isinstance(wanted, torch.dtype) else next(p.dtype for p in model.parameters())
    install(model, layers, dtype)
    return model


def attention_for(source: HfModel | Adapter, task: str, config: Any) -> str | None:
    """Eager attention for encoders that TorchScript exports: it is the form that attention fusion knows."""
    base = source.base if isinstance(source, Adapter) else source
    if "attn_implementation" in base.load_kwargs:
        return None
    text = task not in ("text-generation", "text2text-generation", "automatic-speech-recognition")
    return "eager" if text and not config.use_dynamo_exporter and config.target_opset <= 20 else None


def parts_of(model: Any, task: str, dtype: torch.dtype, config: Any, source: HfModel | Adapter) -> list[Part]:
    sequence = None if config.dynamic else config.fixed_sequence_length
    if task == "text-generation":
        return [decoder_part(model, dtype, config.past_key_value_name, sequence, text_ids(source))]
    if model.config.is_encoder_decoder and task in ("text2text-generation", "automatic-speech-recognition"):
        return encoder_decoder_parts(model, dtype, config.past_key_value_name, sequence)
    return [single_part(model, dtype, sequence)]


def save(graph: Any, part: Part, parts: int, config: Any, context: Context) -> None:
    weights = [value.const_value for value in graph.graph.initializers.values()]
    total = sum(weight.nbytes for weight in weights if weight is not None)
    changed: dict[str, Any] = {}
    if config.save_as_external_data is None:
        changed["save_as_external_data"] = total >= _BESIDE
    if config.external_data_name and parts > 1:
        changed["external_data_name"] = f"{part.name}.{config.external_data_name}"
    save_ir(graph, context.output / part.file, config.model_copy(update=changed))


def described(parts: list[Part], model: Any, task: str, dtype: torch.dtype) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "file": parts[-1].file,
        "task": task,
        "dtype": str(dtype).removeprefix("torch."),
    }
    if hasattr(getattr(model, "config", None), "model_type"):
        attributes["model_type"] = model.config.model_type
    for part in parts:
        attributes.update(part.attributes)
    if len(parts) > 1:
        attributes["components"] = [{"name": part.name, "file": part.file} for part in parts]
    return attributes
