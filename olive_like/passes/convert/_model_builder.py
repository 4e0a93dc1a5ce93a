"""Call onnxruntime-genai's builder, and check what it made."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import onnxruntime_genai.models  # noqa: F401  (makes the builder's own modules importable)
import torch
from onnxruntime_genai.models import builder as genai_builder
from onnxruntime_genai.models.builder import create_model, parse_extra_options

from olive_like.artifacts import Adapter, HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._models import load_model, task_for
from olive_like.passes._onnx_files import (
    copy_side_files,
    describe_io,
    finish,
    graph_file,
    load_ir,
    load_proto,
    save_ir,
)
from olive_like.passes._onnx_runtime import Decoder
from olive_like.passes._verify import TOLERANCE, Comparison, complain, judge
from olive_like.passes.base import Context
from olive_like.passes.convert._builder_gemma import Gemma3
from olive_like.passes.convert._builder_speech import finish_speech
from olive_like.passes.convert._carried import carried
from olive_like.passes.convert._check_export import greedy
from olive_like.passes.convert._genai import describe_decoder, read_config, write_config
from olive_like.passes.convert._parts import some_tokens
from olive_like.passes.quantize._for_builder import for_builder

_BUILDER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, OSError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip
genai_builder.Gemma3Model = Gemma3

_LISTS = {"int4_op_types_to_quantize": "/", "int4_nodes_to_exclude": ","}
_OPTIONS = (
    "int4_block_size", "int4_accuracy_level", "int4_is_symmetric", "int4_op_types_to_quantize",
    "int4_nodes_to_exclude", "int4_algo_config", "use_qdq", "use_8bits_moe", "use_webgpu_fp32", "use_cuda_bf16",
    "include_hidden_states", "exclude_embeds", "exclude_lm_head", "enable_cuda_graph",
)  # fmt: skip


def build(source: HfModel | Adapter | OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Build, complete the configuration, describe, compare."""
    context.scratch.mkdir(parents=True, exist_ok=True)
    options = _options(source, config)
    if isinstance(source, OnnxModel):
        return _metadata(source, config, options, context)
    folder = _folder(source, context)
    folder, needed = for_builder(folder, context.scratch / "quantised", context.note)
    options = needed | options
    _run_builder(folder, options, config, context)
    file = options.get("filename", "model.onnx")
    settings = read_config(context.output)
    settings["search"].update(config.search or {})
    write_config(context.output, settings)
    if not (context.output / "config.json").exists():
        shutil.copyfile(folder / "config.json", context.output / "config.json")
    attributes = (
        {"file": file, "task": "text-generation", "genai": True} | _describe(settings, folder, config) | carried(source)
    )
    if "encoder" in settings["model"]:
        return finish_speech(settings, source, attributes, config, context)
    result = finish(context, OnnxModel(context.output), attributes)
    _report_quantised(result, config, context)
    verified = _verify(result, source, config, context)
    return OnnxModel(context.output, {**result.attributes, **({"verified": verified} if verified else {})})


def _describe(settings: dict[str, Any], folder: Path, config: Any) -> dict[str, Any]:
    decoder = settings["model"]["decoder"]
    return {
        "model_type": json.loads((folder / "config.json").read_text("utf-8")).get("model_type"),
        "dtype": {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(config.precision, config.precision),
        "vocab_size": settings["model"]["vocab_size"],
        "kv_cache": {
            "layers": decoder["num_hidden_layers"],
            "heads": decoder["num_key_value_heads"],
            "head_size": decoder["head_size"],
            "past": "past_key_values",
            "present": "present",
        },
    }


def _report_quantised(result: OnnxModel, config: Any, context: Context) -> None:
    """Say it where the builder has left alone what it was asked to quantise."""
    if config.precision not in ("int4", "int8"):
        return
    ops = Counter(node.op_type for node in load_proto(result).graph.node)
    done = {"MatMul": ops["MatMulNBits"] + ops["DequantizeLinear"], "Gather": ops["GatherBlockQuantized"]}
    context.metric("quantised_nodes", sum(done.values()))
    for op in config.int4_op_types_to_quantize or ["MatMul"]:
        if not done.get(op):
            context.warn(
                f"the builder quantised no {op}"
                + (f": int4_algo_config={config.int4_algo_config} may not cover it" if config.int4_algo_config else "")
            )


def _options(source: HfModel | Adapter | OnnxModel, config: Any) -> dict[str, str]:
    """The settings as the builder's texts; what `extra_options` says comes on top."""
    # A cache that is cut to a layer's window is of a size that onnxruntime-genai alone knows to give it.
    chosen: dict[str, Any] = {"windowed_kv_cache": False}
    chosen |= {name: getattr(config, name) for name in _OPTIONS if getattr(config, name) is not None}
    chosen |= config.extra_options or {}
    chosen["hf_token"] = False
    if not isinstance(source, OnnxModel):
        base = source.base if isinstance(source, Adapter) else source
        chosen["hf_remote"] = bool(base.load_kwargs.get("trust_remote_code", False))
    if config.metadata_only:
        chosen["config_only"] = True
    # Older names began with int4_, which the builder has dropped since its methods also serve int8.
    return {name.removeprefix("int4_"): _text(name, value) for name, value in chosen.items()}


def _text(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return _LISTS.get(name, ",").join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _run_builder(folder: Path, options: dict[str, str], config: Any, context: Context) -> None:
    provider = config.execution_provider or context.device
    cache = context.scratch / "builder"
    place = (str(folder), str(folder), str(context.output), config.precision, provider, str(cache))
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
            parsed = parse_extra_options(*place, [f"{name}={value}" for name, value in options.items()])
            create_model(*place, **parsed)
    except _BUILDER_ERRORS as error:
        raise _stopped(error, folder) from error
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        context.emit("log", {"text": said.getvalue()})
    for line in said.getvalue().splitlines():
        if line.startswith("WARNING: "):
            context.warn(line.removeprefix("WARNING: "))


def _stopped(error: BaseException, folder: Path) -> PassError:
    if isinstance(error, NotImplementedError) and "not currently supported" in str(error):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        name = (config.get("architectures") or ["this architecture"])[0]
        return PassError(f"onnxruntime-genai's builder does not know {name}", "Use OnnxConversion.")
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return PassError(
        f"onnxruntime-genai's builder stopped: {type(error).__name__}: {line[:300]}",
        "Check precision, execution_provider and extra_options; OnnxConversion exports without this builder.",
    )


def _folder(source: HfModel | Adapter, context: Context) -> Path:
    """A Hugging Face folder that the builder understands: the model's own where nothing is to be changed."""
    if isinstance(source, Adapter):
        merged = context.scratch / "merged"
        # In float32: what an adapter adds is often smaller than bfloat16 can tell from nothing.
        model = load_model(source, "text-generation", "float32")
        if not hasattr(model, "merge_and_unload"):
            raise PassError("a bottleneck adapter is no change of weights: it cannot be merged", "Use OnnxConversion.")
        model.merge_and_unload().save_pretrained(merged)
        for path in sorted({*source.base.path.iterdir(), *source.path.iterdir()}):
            if path.is_file() and path.name.startswith(("tokenizer", "special_tokens", "vocab", "merges", "chat_temp")):
                shutil.copyfile(path, merged / path.name)
        return merged
    config = json.loads((source.path / "config.json").read_text("utf-8"))
    changed = _repaired(config)
    return source.path if changed is None else _with_config(source.path, changed, context.scratch / "input")


def _repaired(config: dict[str, Any]) -> dict[str, Any] | None:
    """Phi-3 without long RoPE: the builder goes by these two numbers alone, and transformers fills one in."""
    longest = config.get("max_position_embeddings")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    plain = rope.get("rope_type", rope.get("type", "default")) == "default"
    if config.get("model_type") == "phi3" and plain and config.get("original_max_position_embeddings") != longest:
        return {**config, "original_max_position_embeddings": longest}
    return None


def _with_config(folder: Path, config: dict[str, Any], target: Path) -> Path:
    """The folder with another config; the weights are linked, since they are only read."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != "config.json":
            (target / path.name).symlink_to(path.resolve())
    (target / "config.json").write_text(json.dumps(config), "utf-8")
    return target


def _metadata(source: OnnxModel, config: Any, options: dict[str, str], context: Context) -> OnnxModel:
    """Only genai_config.json, for a graph that is there already."""
    folder = source.path if source.path.is_dir() else source.path.parent
    if not (folder / "config.json").is_file():
        raise PassError("the ONNX model has no config.json beside it", "Export it with OnnxConversion.")
    _run_builder(folder, options, config, context)
    copy_side_files(source, context.output)
    path = graph_file(source)
    save_ir(load_ir(path), context.output / path.name)
    settings = read_config(context.output)
    describe_decoder(settings, describe_io(load_proto(path)), path.name)
    settings["search"].update(config.search or {})
    write_config(context.output, settings)
    return finish(context, source, {"genai": True})


def _verify(result: OnnxModel, source: HfModel | Adapter, config: Any, context: Context) -> dict[str, Any] | None:
    """Logits of one prompt and greedy tokens against the model; not for a graph without embedding or head."""
    names = {value["name"] for side in ("inputs", "outputs") for value in result.attributes["io"][side]}
    provider = config.execution_provider or context.device
    if config.verify == "off" or not {"input_ids", "logits"} <= names:
        return None
    if provider not in ("cpu", context.device) or (config.precision in ("fp16", "bf16") and context.device == "cpu"):
        context.note(f"not compared with PyTorch: {provider} {config.precision} does not run here")
        return None
    if str((config.extra_options or {}).get("windowed_kv_cache", False)).lower() in ("true", "1"):
        context.note("not compared with PyTorch: only onnxruntime-genai runs a windowed cache")
        return None
    task = "image-text-to-text" if task_for(source) == "image-text-to-text" else "text-generation"
    model = load_model(source, task, "float32", device=context.device)
    exact = config.precision in ("fp32", "fp16", "bf16")
    prompt = some_tokens(1, 12, int(result.attributes["vocab_size"]))
    comparison = Comparison()
    decoder = Decoder(result, threads=context.threads, device=context.device)
    with torch.no_grad():
        expected = model(input_ids=prompt.to(model.device)).logits.float().cpu().numpy()
    got = decoder.prefill(prompt[0].tolist())
    comparison.add("logits", expected[:, -got.shape[1] :], got)
    comparison.runs = 1
    tolerance = TOLERANCE[str(result.attributes["dtype"])] if exact else float("inf")
    recorded = judge(comparison, config.verify, tolerance, context)
    if config.verify_tokens:
        wanted = greedy(model, prompt, config.verify_tokens)
        made = decoder.generate(prompt[0].tolist(), len(wanted))
        same = next((i for i, (a, b) in enumerate(zip(wanted, made, strict=True)) if a != b), len(wanted))
        context.metric("verify.greedy_tokens", same / len(wanted))
        recorded["greedy_tokens"] = round(same / len(wanted), 3)
        if same < len(wanted) and config.precision == "fp32":
            complain(f"only {same} of {len(wanted)} greedy tokens are the model's own", config.verify, context)
    return recorded
