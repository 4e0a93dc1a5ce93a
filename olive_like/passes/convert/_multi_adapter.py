"""The work of MultiAdapterConversion: one graph, and each adapter's matrices beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from olive_like.artifacts import Adapter, HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._adapter_files import write_adapter
from olive_like.passes._adapter_graph import take_out
from olive_like.passes._adapter_runtime import run_with
from olive_like.passes._models import attach_adapter, load_model, task_for, torch_dtype
from olive_like.passes._onnx_files import finish, graph_file
from olive_like.passes._onnx_runtime import open_session
from olive_like.passes._verify import TOLERANCE, Comparison, compare_outputs, judge
from olive_like.passes.base import Context
from olive_like.passes.convert._check_export import as_arrays
from olive_like.passes.convert._conversion import attention_for, described, parts_of, save
from olive_like.passes.convert._export import export
from olive_like.passes.convert._parts import Part, generator, reference
from olive_like.passes.convert._side_files import write_side_files
from olive_like.passes.convert._switchable import Matrices, install, matrices_of, padded

_BASE = ""  # the name under which the base model's own outputs are kept


def convert(sources: list[HfModel | Adapter], config: Any, context: Context) -> OnnxModel:
    """Read every adapter's matrices, export the base with room for them, write both, compare each with peft."""
    base, folders = _who(sources, config)
    task = task_for(sources[0])
    device = config.device or context.device
    model = load_model(
        base, task, torch_dtype(config.torch_dtype or "float32"), device=device,
        attention=attention_for(base, task, config),
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    part = _only_part(parts_of(model, task, dtype, config, base))
    samples = part.samples() if config.verify != "off" else []
    expected = {_BASE: [reference(part, inputs) for inputs in samples]}
    adapters: dict[str, dict[str, Matrices]] = {}
    for name, folder in folders.items():
        adapters[name], expected[name] = _with_peft(model, folder, name, part, samples)
    room = _room(adapters, dynamic=config.dynamic_lora_r)
    install(model, room, dtype)
    graph = export(part, config.target_opset, config.use_dynamo_exporter, config.optimize, context)
    found = take_out(graph, make_inputs=True, optional=config.optional_inputs, dynamic=config.dynamic_lora_r)
    for value in list(graph.graph.initializers.values()):
        value.name = str(value.name).replace(".base_layer.", ".")
    save(graph, part, 1, config, context)
    write_side_files(base, model, context.output)
    files, weights = _write(adapters, room, found, dtype, config, context)
    attributes = {**described([part], model, task, dtype), "adapters": files}
    result = finish(context, OnnxModel(context.output), attributes)
    if not samples:
        return result
    arrays = {name: [as_arrays(outputs) for outputs in several] for name, several in expected.items()}
    verified = _verify(result, [as_arrays(inputs) for inputs in samples], arrays, weights, config, context)
    return OnnxModel(context.output, {**result.attributes, "verified": verified})


def _who(sources: list[HfModel | Adapter], config: Any) -> tuple[HfModel, dict[str, Path]]:
    """The base that all stand on, and the adapters' folders by name."""
    bases = [source.base if isinstance(source, Adapter) else source for source in sources]
    if len({base.digest or str(base.path) for base in bases}) > 1:
        raise PassError("the adapters stand on different base models", "One graph has one base.")
    inputs = [source for source in sources if isinstance(source, Adapter)]
    names = config.names or [f"adapter_{number}" for number in range(1, len(inputs) + 1)]
    folders = {name: source.path for name, source in zip(names, inputs, strict=True)}
    return bases[0], folders | {name: adapter.adapter_path for name, adapter in config.adapters.items()}


def _only_part(parts: list[Part]) -> Part:
    if len(parts) > 1:
        raise PassError(
            f"the model becomes several graphs ({', '.join(part.name for part in parts)})",
            "An adapter's file serves one graph: merge each adapter into a model of its own.",
        )
    return parts[0]


def _with_peft(
    model: Any, folder: Path, name: str, part: Part, samples: list[dict[str, torch.Tensor]]
) -> tuple[dict[str, Matrices], list[dict[str, torch.Tensor]]]:
    """An adapter's matrices, and what peft makes of the samples with it; the model is the base again afterwards."""
    tuned = attach_adapter(model, folder)
    if not hasattr(tuned, "peft_config"):
        raise PassError(f"{name} is a bottleneck adapter: it cannot be switched in a graph", "LoRA adapters can.")
    try:
        return matrices_of(tuned), [reference(part, inputs) for inputs in samples]
    except PassError as error:
        raise PassError(f"{name}: {error.message}", error.hint) from error
    finally:
        tuned.unload()


def _room(adapters: dict[str, dict[str, Matrices]], *, dynamic: bool) -> dict[str, Matrices]:
    """Matrices for every layer that any adapter changes, with which the graph is traced."""
    room: dict[str, Matrices] = {}
    noise = generator()  # exporters make one weight of several that are equal
    for path in dict.fromkeys(path for layers in adapters.values() for path in layers):
        ones = [layers[path] for layers in adapters.values() if path in layers]
        # A rank of 1 would be taken for an axis that is spread over another.
        rank = max(2 if dynamic else 1, *(one.a.shape[1] for one in ones))
        a = torch.randn(ones[0].a.shape[0], rank, generator=noise)
        b = torch.randn(rank, ones[0].b.shape[1], generator=noise)
        gain = torch.randn(b.shape[1], generator=noise) if any(one.gain is not None for one in ones) else None
        room[path] = Matrices(a, b, gain)
    return room


def _write(
    adapters: dict[str, dict[str, Matrices]],
    room: dict[str, Matrices],
    found: dict[str, np.ndarray],
    dtype: torch.dtype,
    config: Any,
    context: Context,
) -> tuple[dict[str, str], dict[str, dict[str, np.ndarray]]]:
    """Each adapter's file; where inputs may not be left out, it has matrices for every layer."""
    files: dict[str, str] = {}
    weights: dict[str, dict[str, np.ndarray]] = {}
    for name, layers in adapters.items():
        if not config.dynamic_lora_r:
            layers = padded(layers, {path: one.a.shape[1] for path, one in room.items()})
        tensors = {k: v for path, one in layers.items() for k, v in one.named(path).items()}
        if not config.optional_inputs:
            tensors = {**_nothing(room), **tensors}
        missing = sorted(set(tensors) - set(found))
        if missing:
            raise PassError(f"the exporter lost the adapter's matrix {missing[0]}", "Try the other exporter.")
        weights[name] = {key: tensor.to(dtype).numpy() for key, tensor in tensors.items()}
        files[name] = write_adapter(weights[name], context.output / name, config.save_format).name
        context.metric(f"rank.{name}", max(one.a.shape[1] for one in layers.values()))
    return files, weights


def _nothing(room: dict[str, Matrices]) -> dict[str, torch.Tensor]:
    """Matrices with which the graph is the base."""
    named = {name: tensor for path, one in room.items() for name, tensor in one.named(path).items()}
    return {name: torch.full_like(tensor, float(name.endswith("gain.weight"))) for name, tensor in named.items()}


def _verify(
    result: OnnxModel,
    samples: list[dict[str, np.ndarray]],
    expected: dict[str, list[dict[str, np.ndarray]]],
    weights: dict[str, dict[str, np.ndarray]],
    config: Any,
    context: Context,
) -> dict[str, Any]:
    """Each adapter in turn, and the base where a request may leave the adapter out."""
    session = open_session(graph_file(result), threads=context.threads, device=context.device)
    comparison = Comparison()
    for name, several in expected.items():
        if name == _BASE and not config.optional_inputs:
            continue
        for inputs, outputs in zip(samples, several, strict=True):
            compare_outputs(outputs, run_with(session, inputs, weights.get(name, {})), comparison)
    tolerance = config.verify_tolerance or TOLERANCE.get(str(result.attributes["dtype"]), 1e-4)
    return judge(comparison, config.verify, tolerance, context)
