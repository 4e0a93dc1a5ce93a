"""An ONNX model's outputs, text and speed beside its PyTorch original's."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from olive_like.artifacts import HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._models import load_model, load_tokenizer, quiet
from olive_like.passes._onnx_files import components, finish
from olive_like.passes._onnx_runtime import (
    Arrays,
    Decoder,
    Shape,
    describe_graph,
    gives_last_only,
    known_axes,
    make_feeds,
    open_session,
    run_session,
    vocabulary_of,
)
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._session_tuning import _copy

FILE = "discrepancy.json"


def check(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Compare, write the report, and fail above the bounds."""
    quiet()
    torch.set_num_threads(max(1, context.threads))
    folder = Path(config.reference_model_path)
    reference = HfModel(folder if folder.is_dir() else folder.parent, {"task": model.attributes.get("task")})
    original = load_model(reference, dtype="float32")
    graphs = components(model)
    path = graphs.get("model") or next(iter(graphs.values()))
    report = _outputs(model, path, original, config, context)
    if any(value["name"].startswith("past") for value in describe_graph(path)["inputs"]):
        report |= _text(model, reference, original, config, context)
    for name, value in report.items():
        if isinstance(value, (int, float)):
            context.metric(f"discrepancy.{name}", value)
    _judge(report, config)
    _copy(model, context.output)
    (context.output / FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return finish(context, model)


def _outputs(model: OnnxModel, path: Path, original: Any, config: Any, context: Context) -> dict[str, Any]:
    session = open_session(path, threads=context.threads, device=context.device)
    feeds = make_feeds(describe_graph(path), Shape(1, 16, 0, known_axes(model)), context.seed, vocabulary_of(model))
    ours = run_session(session, feeds)
    theirs = _run_torch(original, feeds)
    if "logits" in theirs and gives_last_only(describe_graph(path)):
        theirs["logits"] = theirs["logits"][:, -1:]
    common = [name for name in ours if name in theirs]
    if not common:
        raise PassError(
            f"the models have no output in common: {', '.join(list(ours)[:5])} and {', '.join(list(theirs)[:5])}"
        )
    difference = np.concatenate([_difference(name, ours[name], theirs[name]) for name in common])
    return {
        "outputs": common,
        "mae": float(difference.mean()),
        "max_abs_diff": float(difference.max()),
        "elements": int(difference.size),
        "elements_above_0_1": int((difference > 0.1).sum()),
        "elements_above_0_01": int((difference > 0.01).sum()),
        "onnx_ms": _milliseconds(lambda: run_session(session, feeds), config),
        "torch_ms": _milliseconds(lambda: _run_torch(original, feeds), config),
    }


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far apart single numbers are; NaN, which is above no bound, passes none."""
    ours, theirs = ours.astype(np.float64).reshape(-1), theirs.astype(np.float64).reshape(-1)
    with np.errstate(invalid="ignore"):
        apart = np.where(ours == theirs, 0.0, np.abs(ours - theirs))  # infinity less itself is no number
    if not np.isfinite(apart).all():
        raise PassError(f"the output {name} holds NaN, or Inf where the original does not", "Look at the pass before.")
    return apart


def _run_torch(original: Any, feeds: Arrays) -> Arrays:
    known = inspect.signature(original.forward).parameters
    given = {name: torch.from_numpy(array) for name, array in feeds.items() if name in known}
    if "use_cache" in known:
        given["use_cache"] = False
    with torch.inference_mode():
        outputs = original(**given)
    return {name: value.float().numpy() for name, value in outputs.items() if isinstance(value, torch.Tensor)}


def _milliseconds(run: Any, config: Any) -> float | None:
    if not config.timing_iterations:
        return None
    for _ in range(config.warmup_iterations):
        run()
    times = []
    for _ in range(config.timing_iterations):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return round(median(times), 3)


def _text(model: OnnxModel, reference: HfModel, original: Any, config: Any, context: Context) -> dict[str, Any]:
    """Greedy continuations of the prompt, and how many tokens from the start both have."""
    tokenizer = load_tokenizer(reference)
    prompt = tokenizer(config.generate_prompt, return_tensors="pt")
    count = config.generate_max_new_tokens
    with torch.inference_mode():
        made = original.generate(
            input_ids=prompt["input_ids"],
            attention_mask=prompt["attention_mask"],
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
        )
    theirs = made[0, prompt["input_ids"].shape[1] :].tolist()
    ours = Decoder(model, threads=context.threads, device=context.device).generate(
        prompt["input_ids"][0].tolist(), count
    )
    pairs = zip(ours, theirs, strict=False)
    common = next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
    return {"common_tokens": common, "onnx_text": tokenizer.decode(ours), "torch_text": tokenizer.decode(theirs)}


def _judge(report: dict[str, Any], config: Any) -> None:
    above = {"mae": config.max_mae}
    above |= {name: getattr(config, f"max_{name}") for name in ("elements_above_0_1", "elements_above_0_01")}
    for name, limit in above.items():
        if limit is not None and report[name] > limit:
            raise PassError(f"{name} is {report[name]:g}, above the {limit:g} allowed", "Raise the bound, or look why.")
    least = config.min_longest_common_tokens
    if least is None:
        return
    if "common_tokens" not in report:
        raise PassError("min_longest_common_tokens is set, but the model does not generate text", "Leave it out.")
    if report["common_tokens"] < least:
        raise PassError(f"only {report['common_tokens']} tokens are generated alike, of {least} wanted")
