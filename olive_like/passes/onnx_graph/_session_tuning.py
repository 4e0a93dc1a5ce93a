"""onnxruntime's session settings, each combination timed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime as ort

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import clone, components, finish
from olive_like.passes._onnx_runtime import (
    ORT_ERRORS,
    Arrays,
    Shape,
    describe_graph,
    known_axes,
    make_feeds,
    vocabulary_of,
)
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._calibration import calibration_feeds

FILE = "session_tuning.json"
_WARM_UP = 3
_LEAST = 5  # timed runs, however long they take
_LEVELS = {
    0: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    2: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    99: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_OF_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_MODES = {0: ort.ExecutionMode.ORT_SEQUENTIAL, 1: ort.ExecutionMode.ORT_PARALLEL}


def tune(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Try all combinations on the model's main graph; the fastest goes into the attributes."""
    graphs = components(model)
    path = graphs.get("model") or graphs.get("decoder") or next(iter(graphs.values()))
    if config.providers_list is None:
        config = config.model_copy(update={"providers_list": _OF_DEVICE[context.device]})
    feeds = _feeds(model, path, config, context)
    trials: list[dict[str, Any]] = []
    combinations = list(_combinations(config))
    for number, settings in enumerate(combinations, 1):
        try:
            trials.append({**settings, **_time(path, feeds, settings, config)})
        except ORT_ERRORS as error:
            if len(_providers(config)) < 2 or not config.force_evaluate_other_eps:
                raise PassError(
                    f"onnxruntime does not run the model with {settings}: {str(error).splitlines()[0]}"
                ) from error
            context.warn(f"{settings['provider']} does not run the model: {str(error).splitlines()[0]}")
        context.progress(number, len(combinations))
    if not trials:
        raise PassError("none of the execution providers runs the model", "The warnings above say why.")
    best, default = min(trials, key=lambda trial: trial["median_ms"]), trials[0]
    context.metric("latency_ms.default", default["median_ms"])
    context.metric("latency_ms.tuned", best["median_ms"])
    context.note(
        f"{len(trials)} settings tried: {default['median_ms']:.3f} ms by default, {best['median_ms']:.3f} ms best"
    )
    _copy(model, context.output)
    (context.output / FILE).write_text(json.dumps({"trials": trials, "best": best}, indent=1) + "\n", encoding="utf-8")
    result = finish(context, model)
    if config.enable_profiling:
        _profile(path, feeds, best, config, context)
    return replace(result, attributes={**result.attributes, "inference_settings": _settings_of(best, config)})


def _feeds(model: OnnxModel, path: Path, config: Any, context: Context) -> Arrays:
    if config.data_config is not None:
        return calibration_feeds(model, path, config.data_config, 1, context)[0]
    shape = Shape(config.batch_size, config.sequence_length, 0, known_axes(model))
    return make_feeds(describe_graph(path), shape, context.seed, vocabulary_of(model))


def _providers(config: Any) -> list[str]:
    given = config.providers_list if isinstance(config.providers_list, list) else [config.providers_list]
    unknown = [name for name in given if name not in ort.get_available_providers()]
    if unknown:
        raise PassError(f"this onnxruntime has no {unknown[0]}", f"It has: {', '.join(ort.get_available_providers())}.")
    return given


def _list(value: Any, default: list[Any]) -> list[Any]:
    return default if value is None else list(value) if isinstance(value, list) else [value]


def _combinations(config: Any) -> Iterator[dict[str, Any]]:
    """The default first; a number of threads across operators means something in parallel mode only."""
    cores = config.cpu_cores or os.cpu_count() or 1
    threads = sorted({cores, max(1, cores // 2), 1}, reverse=True)
    modes = _list(config.execution_mode_list, [0])
    for provider, mode, level, intra, bind in product(
        _providers(config),
        modes,
        _list(config.opt_level_list, [99, 2, 1]),
        _list(config.intra_thread_num_list, [None, *threads]),
        _list(config.io_bind, [False]),
    ):
        if mode not in _MODES or level not in _LEVELS:
            raise PassError(f"execution mode {mode}, graph level {level}", "Modes are 0 and 1; levels 0, 1, 2 and 99.")
        for inter in _list(config.inter_thread_num_list, [None, *threads] if mode == 1 else [None]):
            yield {
                "provider": provider,
                "execution_mode": mode,
                "graph_optimization_level": level,
                "intra_op_num_threads": intra,
                "inter_op_num_threads": inter if mode == 1 else None,
                "io_bind": bind,
            }


def _session(path: Path, settings: dict[str, Any], config: Any, profile: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.execution_mode = _MODES[settings["execution_mode"]]
    options.graph_optimization_level = _LEVELS[settings["graph_optimization_level"]]
    options.intra_op_num_threads = settings["intra_op_num_threads"] or 0
    options.inter_op_num_threads = settings["inter_op_num_threads"] or 0
    for key, value in (config.extra_session_config or {}).items():
        options.add_session_config_entry(key, str(value))
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(
        str(path), options, providers=[(settings["provider"], _provider_options(settings, config))]
    )


def _provider_options(settings: dict[str, Any], config: Any) -> dict[str, Any]:
    names, given = _providers(config), config.provider_options_list
    options = dict(given[names.index(settings["provider"])] if isinstance(given, list) and given else given or {})
    if config.enable_cuda_graph and settings["provider"] == "CUDAExecutionProvider":
        options["enable_cuda_graph"] = "1"
    if config.trt_fp16_enable and settings["provider"] == "TensorrtExecutionProvider":
        options["trt_fp16_enable"] = True
    return options


def _time(path: Path, feeds: Arrays, settings: dict[str, Any], config: Any) -> dict[str, float]:
    session = _session(path, settings, config)
    run = _bound(session, feeds, settings) if settings["io_bind"] else lambda: session.run(None, feeds)
    for _ in range(_WARM_UP):
        run()
    times: list[float] = []
    end = time.perf_counter() + config.seconds_per_trial
    while len(times) < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return {"median_ms": round(median(times), 4), "best_ms": round(min(times), 4), "runs": len(times)}


def _bound(session: ort.InferenceSession, feeds: Arrays, settings: dict[str, Any]) -> Any:
    binding = session.io_binding()
    device = "cuda" if settings["provider"] in ("CUDAExecutionProvider", "TensorrtExecutionProvider") else "cpu"
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
    for value in session.get_outputs():
        binding.bind_output(value.name, device)
    return lambda: session.run_with_iobinding(binding)


def _profile(path: Path, feeds: Arrays, best: dict[str, Any], config: Any, context: Context) -> None:
    session = _session(path, best, config, context.scratch / "profile")
    for _ in range(_LEAST):
        session.run(None, feeds)
    clone(Path(session.end_profiling()), context.output / "profile.json")


def _settings_of(best: dict[str, Any], config: Any) -> dict[str, Any]:
    options = {
        key: best[key] for key in best if key.endswith(("_mode", "_level", "_threads")) and best[key] is not None
    }
    return {
        "execution_provider": [best["provider"]],
        "provider_options": [_provider_options(best, config)],
        "session_options": {**options, "extra_session_config": config.extra_session_config or {}},
        "io_bind": best["io_bind"],
    }


def _copy(model: OnnxModel, output: Path) -> None:
    """The whole model as it is."""
    if model.path.is_file():
        clone(model.path, output / model.path.name)
        return
    for file in sorted(model.path.rglob("*")):
        if file.is_file():
            target = output / file.relative_to(model.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            clone(file, target)
