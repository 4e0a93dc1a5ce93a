"""The work of MultiAdapterConversion: one graph, and each adapter's matrices beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
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
from olive_like.passes.convert._decoder import DecoderWithPast, ScoringDecoder
from olive_like.passes.convert._export import export
from olive_like.passes.convert._parts import Part, generator, reference
from olive_like.passes.convert._side_files import write_side_files
from olive_like.passes.convert._switchable import Matrices, install, matrices_of, padded

_BASE = ""  # the name under which the base model's own outputs are kept
_SCORES, _HEAD = "scores", "scores.lora_head.weight"
_TEXT = ("input_ids", "attention_mask", "position_ids")
Samples = list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]  # inputs, and what comes out


@dataclass(frozen=True)
class Tuned:
    """One adapter: what it adds to the base's layers, the head that it classifies with, and what peft makes of it."""

    layers: dict[str, Matrices]
    head: torch.Tensor | None  # [features, classes]
    expected: Samples


def convert(sources: list[HfModel | Adapter], config: Any, context: Context) -> OnnxModel:
    """Read every adapter's matrices, export the base with room for them, write both, compare each with peft."""
    base, folders = _who(sources, config)
    task = task_for(base)
    device = config.device or context.device
    dtype_asked = torch_dtype(config.torch_dtype or "float32")
    model = load_model(base, task, dtype_asked, device=device, attention=attention_for(base, task, config))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    if dtype is torch.bfloat16:
        raise PassError("the files of adapters hold no bfloat16", "Set `torch_dtype: float16`, or leave it out.")
    part = _only_part(parts_of(model, task, dtype, config, base))
    samples = part.samples() if config.verify != "off" else []
    expected = {_BASE: [(inputs, reference(part, inputs)) for inputs in samples]}
    adapters: dict[str, Tuned] = {}
    for name, folder in folders.items():
        try:
            adapters[name] = _read(model, base, folder, task, part, samples)
        except PassError as error:
            raise PassError(f"{name}: {error.message}", error.hint) from error
        expected[name] = adapters[name].expected
    room = _room([one.layers for one in adapters.values()], dynamic=config.dynamic_lora_r)
    install(model, room, dtype)
    part = _with_head(part, model, _widest([one.head for one in adapters.values()], dtype))
    graph = export(part, config.target_opset, config.use_dynamo_exporter, config.optimize, context)
    found = take_out(graph, make_inputs=True, optional=config.optional_inputs, dynamic=config.dynamic_lora_r)
    for value in list(graph.graph.initializers.values()):
        value.name = str(value.name).replace(".base_layer.", ".")
    save(graph, part, 1, config, context)
    write_side_files(base, model, context.output)
    files, weights = _write(adapters, room, found, dtype, config, context)
    classifiers = {name: one.head.shape[1] for name, one in adapters.items() if one.head is not None}
    attributes = {**described([part], model, task, dtype), "adapters": files}
    if classifiers:
        attributes["classifiers"] = classifiers
        context.note(f"{', '.join(classifiers)}: the classes' scores are in the output {_SCORES}, at the last token")
    result = finish(context, OnnxModel(context.output), attributes)
    if not samples:
        return result
    verified = _verify(result, expected, weights, config, context)
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


def _read(
    model: Any, base: HfModel, folder: Path, task: str, part: Part, samples: list[dict[str, torch.Tensor]]
) -> Tuned:
    """An adapter's matrices, and what peft makes of the samples with it; the model is the base again afterwards."""
    if task == "text-generation" and _task_type(folder) == "SEQ_CLS":
        return _read_classifier(model, base, folder, samples)
    tuned = attach_adapter(model, folder)
    if not hasattr(tuned, "peft_config"):
        raise PassError("a bottleneck adapter cannot be switched in a graph", "LoRA adapters can.")
    try:
        return Tuned(matrices_of(tuned), None, [(inputs, reference(part, inputs)) for inputs in samples])
    finally:
        tuned.unload()


def _task_type(folder: Path) -> Any:
    file = folder / "adapter_config.json"
    return json.loads(file.read_text("utf-8")).get("task_type") if file.is_file() else None


@torch.no_grad()
def _read_classifier(model: Any, base: HfModel, folder: Path, samples: list[dict[str, torch.Tensor]]) -> Tuned:
    """The same for an adapter over the base with a classifier's head in place of its own."""
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    tuned = load_model(Adapter(folder, {}, {"base": base}), "text-classification", dtype, device=str(model.device))
    layers = matrices_of(tuned, heads=("score", "classifier"))
    inner = tuned.base_model.model
    score = getattr(inner, "score", None)
    if score is None or getattr(score, "bias", None) is not None or model.get_output_embeddings() is None:
        raise PassError(f"the head of {type(inner).__name__} is no single matrix", "Merge it into a model of its own.")
    body = getattr(inner, inner.base_model_prefix)
    expected = []
    for inputs in samples[:1]:  # the first has no past, so that the names are those of the model
        own = {name: tensor for name, tensor in inputs.items() if name in _TEXT}
        expected.append((inputs, {_SCORES: score(body(**own).last_hidden_state)}))
    weight = score.modules_to_save["default"].weight if hasattr(score, "modules_to_save") else score.weight
    return Tuned(layers, weight.detach().float().T.clone(), expected)


def _widest(heads: list[torch.Tensor | None], dtype: torch.dtype) -> torch.Tensor | None:
    """Room for every head there is: noise, as in `_room`."""
    given = [head for head in heads if head is not None]
    if not given:
        return None
    classes = max(2, *(head.shape[1] for head in given))
    return torch.randn(given[0].shape[0], classes, generator=generator(1)).to(dtype)


def _with_head(part: Part, model: Any, head: torch.Tensor | None) -> Part:
    if head is None:
        return part
    assert isinstance(part.module, DecoderWithPast)
    module = ScoringDecoder(model, part.module.names, head.to(model.device)).eval()
    axes = {**part.axes, _SCORES: part.axes["logits"]} if part.axes else {}
    return replace(part, module=module, outputs=[*part.outputs, _SCORES], axes=axes)


def _room(adapters: list[dict[str, Matrices]], *, dynamic: bool) -> dict[str, Matrices]:
    """Matrices for every layer that any adapter changes, with which the graph is traced."""
    room: dict[str, Matrices] = {}
    noise = generator()  # exporters make one weight of several that are equal
    for path in dict.fromkeys(path for layers in adapters for path in layers):
        ones = [layers[path] for layers in adapters if path in layers]
        # A rank of 1 would be taken for an axis that is spread over another.
        rank = max(2 if dynamic else 1, *(one.a.shape[1] for one in ones))
        a = torch.randn(ones[0].a.shape[0], rank, generator=noise)
        b = torch.randn(rank, ones[0].b.shape[1], generator=noise)
        gain = torch.randn(b.shape[1], generator=noise) if any(one.gain is not None for one in ones) else None
        room[path] = Matrices(a, b, gain)
    return room


def _write(
    adapters: dict[str, Tuned],
    room: dict[str, Matrices],
    found: dict[str, np.ndarray],
    dtype: torch.dtype,
    config: Any,
    context: Context,
) -> tuple[dict[str, str], dict[str, dict[str, np.ndarray]]]:
    """Each adapter's file; where inputs may not be left out, it has matrices for every layer."""
    files: dict[str, str] = {}
    weights: dict[str, dict[str, np.ndarray]] = {}
    for name, one in adapters.items():
        tensors = _tensors(one, room, found, config)
        missing = sorted(set(tensors) - set(found))
        if missing:
            raise PassError(f"the exporter lost the adapter's matrix {missing[0]}", "Try the other exporter.")
        weights[name] = {key: tensor.cpu().to(dtype).numpy() for key, tensor in tensors.items()}
        files[name] = write_adapter(weights[name], context.output / name, config.save_format).name
        context.metric(f"rank.{name}", max(layer.a.shape[1] for layer in one.layers.values()))
    return files, weights


def _tensors(
    one: Tuned, room: dict[str, Matrices], found: dict[str, np.ndarray], config: Any
) -> dict[str, torch.Tensor]:
    """What an adapter gives to the graph's inputs."""
    layers, head = one.layers, one.head
    if not config.dynamic_lora_r:
        layers = padded(layers, {path: matrices.a.shape[1] for path, matrices in room.items()})
        if head is not None:
            head = torch.nn.functional.pad(head, (0, found[_HEAD].shape[1] - head.shape[1]))
    tensors = {name: tensor for path, layer in layers.items() for name, tensor in layer.named(path).items()}
    if head is not None:
        tensors[_HEAD] = head
    if config.optional_inputs:
        return tensors
    # With these, the graph is the base where the adapter changes nothing.
    nothing = {name: torch.full(array.shape, float(name.endswith("gain.weight"))) for name, array in found.items()}
    return {**nothing, **tensors}


def _verify(
    result: OnnxModel,
    expected: dict[str, Samples],
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
        for inputs, outputs in several:
            got = run_with(session, as_arrays(inputs), weights.get(name, {}))
            if _SCORES in outputs:
                got[_SCORES] = got[_SCORES][..., : outputs[_SCORES].shape[-1]]  # the widest head may be wider
            compare_outputs(as_arrays(outputs), got, comparison)
    tolerance = config.verify_tolerance or TOLERANCE.get(str(result.attributes["dtype"]), 1e-4)
    return judge(comparison, config.verify, tolerance, context)
