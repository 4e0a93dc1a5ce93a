"""What the builder makes of a speech model: an encoder and a decoder, described and compared."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from olive_like.artifacts import Adapter, HfModel, OnnxModel
from olive_like.passes._models import load_model
from olive_like.passes._onnx_files import components, describe_io, finish, load_proto
from olive_like.passes._onnx_runtime import _NUMPY, cache_inputs, open_session, run_session
from olive_like.passes._verify import TOLERANCE, Comparison, judge
from olive_like.passes.base import Context
from olive_like.passes.convert._parts import generator, some_tokens

_TASK = "automatic-speech-recognition"
_TOKENS = 6
_BESIDE = ("preprocessor_config.json", "generation_config.json", "normalizer.json")  # which the builder leaves out


def finish_speech(
    settings: Mapping[str, Any],
    source: HfModel | Adapter,
    attributes: Mapping[str, Any],
    config: Any,
    context: Context,
) -> OnnxModel:
    """The artifact of the two graphs that the builder's configuration names."""
    for name in _BESIDE:
        if (source.path / name).is_file() and not (context.output / name).exists():
            shutil.copyfile(source.path / name, context.output / name)
    files = {name: str(settings["model"][name]["filename"]) for name in ("encoder", "decoder")}
    listed = [{"name": name, "file": file} for name, file in files.items()]
    more = {"file": files["encoder"], "components": listed, "task": _TASK}
    cache = {**attributes["kv_cache"], "past": "past_self", "present": "present_self"}
    result = finish(context, OnnxModel(context.output), {**attributes, **more, "kv_cache": cache})
    verified = _verify(result, source, config, context)
    return OnnxModel(context.output, {**result.attributes, **({"verified": verified} if verified else {})})


def _verify(result: OnnxModel, source: HfModel | Adapter, config: Any, context: Context) -> dict[str, Any] | None:
    """Hidden states and logits of made-up sound against the model's own."""
    provider = config.execution_provider or context.device
    if config.verify == "off":
        return None
    if provider not in ("cpu", context.device) or (config.precision in ("fp16", "bf16") and context.device == "cpu"):
        context.note(f"not compared with PyTorch: {provider} {config.precision} does not run here")
        return None
    graphs = components(result)
    if any(_lacks_bias(graph) for graph in graphs.values()):
        context.warn("an Attention without bias, as of a model that was not trained, crashes onnxruntime on the CPU")
        return None
    model = load_model(source, _TASK, "float32", device=context.device)
    frames = 2 * model.config.max_source_positions
    sound = torch.randn(1, model.config.num_mel_bins, frames, generator=generator())
    tokens = some_tokens(1, _TOKENS, model.config.vocab_size)
    with torch.no_grad():
        expected = model(input_features=sound.to(model.device), decoder_input_ids=tokens.to(model.device))
    heard = _run(graphs["encoder"], {"audio_features": sound.numpy()}, context)
    spoken = _run(graphs["decoder"], {"input_ids": tokens.numpy(), **cache_inputs(heard)}, context)
    comparison = Comparison()
    comparison.add("hidden_states", expected.encoder_last_hidden_state.cpu().numpy(), heard["hidden_states"])
    got = spoken["logits"]
    comparison.add("logits", expected.logits[:, -got.shape[1] :].cpu().numpy(), got)
    comparison.runs = 1
    exact = config.precision in ("fp32", "fp16", "bf16")
    return judge(comparison, config.verify, TOLERANCE["float32"] if exact else float("inf"), context)


def _lacks_bias(graph: Path) -> bool:
    """The builder leaves out a bias that is zero throughout, which the kernel does not expect."""
    nodes = (node for node in load_proto(graph).graph.node if node.op_type == "Attention")
    return any(len(node.input) < 3 or not node.input[2] for node in nodes)


def _run(graph: Path, given: Mapping[str, np.ndarray], context: Context) -> dict[str, np.ndarray]:
    """One step with an empty cache of its own."""
    feeds = {}
    for value in describe_io(load_proto(graph))["inputs"]:
        dtype = _NUMPY[value["dtype"]]
        if value["name"] in given:
            feeds[value["name"]] = given[value["name"]].astype(dtype)
        else:
            shape = [n if isinstance(n, int) else 0 if "past" in str(n) else 1 for n in value["shape"]]
            feeds[value["name"]] = np.zeros(shape, dtype)
    return run_session(open_session(graph, threads=context.threads, device=context.device), feeds)
