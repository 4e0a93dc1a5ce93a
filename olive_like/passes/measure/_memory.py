"""Peak memory of loading a model and answering, in a process that does nothing else.

Run as a module it measures: the artifact comes as JSON on standard input, the numbers go out as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact, from_json, to_json
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.systems.own_memory import forget_peak, own_peak, own_rss


def memory(
    model: Artifact, settings: Mapping[str, Any], inference: Mapping[str, Any], context: Context
) -> dict[str, tuple[float, float | None]]:
    """`peak`: all of the process; `model`: what is above the libraries alone; `gpu_peak` where there is a GPU."""
    order = {
        "artifact": to_json(model),
        "batch": int(settings.get("batch_size", 1)),
        "length": int(settings.get("sequence_length", 128)),
        "device": context.device,
        "threads": context.threads,
        "inference": dict(inference),
        "scratch": str(context.scratch),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", "olive_like.passes.measure._memory"],
        input=json.dumps(order), capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = done.stderr.strip().splitlines()
        raise PassError(f"the process that measures memory failed: {told[-1] if told else done.returncode}")
    found = json.loads(lines[-1])
    if "error" in found:
        raise PassError(found["error"], found["hint"])
    return {name: (float(value), None) for name, value in found.items()}


def _measure(order: Mapping[str, Any]) -> dict[str, int]:
    model = from_json(order["artifact"])
    _import_libraries(model.kind)
    before = own_rss()
    forget_peak()  # importing took memory for a moment, which is not the model's
    scratch = Path(order["scratch"])
    context = Context(scratch, scratch, device=order["device"], threads=order["threads"])
    from olive_like.passes.measure._runtimes import open_runtime

    runtime = open_runtime(model, context, settings=order["inference"])
    runtime.call(runtime.example(order["batch"], order["length"]))
    peak = own_peak()
    found = {"peak": peak, "model": max(0, peak - before)}
    torch = sys.modules.get("torch")
    if order["device"] == "cuda" and torch is not None and torch.cuda.is_initialized():
        found["gpu_peak"] = int(torch.cuda.max_memory_allocated())
    return found


def _import_libraries(kind: str) -> None:
    """What is needed to open a model of a kind, before anything of the model itself is there."""
    import olive_like.passes.measure._runtimes

    if kind in ("onnx_model", "composite_model"):
        import olive_like.passes.measure._onnx_side
    else:
        import transformers  # noqa: F401

        import olive_like.passes._models  # noqa: F401


def main() -> int:
    """Measure what standard input says."""
    try:
        print(json.dumps(_measure(json.load(sys.stdin))))
    except PassError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
