"""Fine-tuning beside the best hand-written loop: speed, start, quality, merging, determinism.

usage: python benchmarks/finetune.py --model FOLDER --classifier FOLDER --data FOLDER
       [--only NAME …] [--quick] [--json FILE]

FOLDER of --data has alpaca_en_demo.json, glaive_toolcall_en_demo.json and movie_reviews.jsonl. Every figure is taken
in a process of its own. Run it on a quiet machine. Peers that are not installed are named as such.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GROUPS = ("throughput", "packing", "start", "methods", "reviews", "merge", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a causal language model, SmolLM2-135M say")
    parser.add_argument("--classifier", help="folder of an encoder, MiniLM say")
    parser.add_argument("--data", type=Path, help="folder of data")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for group in options.only:
        figures[group] = globals()[group](options)
        print(f"{group}: {json.dumps(figures[group], indent=2)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return 0


def alone(name: str, **arguments: Any) -> Any:
    """What the function `name` of finetune_work.py returns, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [
            sys.executable,
            str(ROOT / "benchmarks" / "finetune_work.py"),
            name,
            json.dumps(arguments),
            str(answer),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count()), "DS_ACCELERATOR": "cpu"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1:]}
        return json.loads(answer.read_text("utf-8"))


def _missing(options: argparse.Namespace, *names: str) -> str | None:
    lacking = [f"--{name}" for name in names if not getattr(options, name)]
    return f"skipped: needs {', '.join(lacking)}" if lacking else None


def throughput(options: argparse.Namespace) -> Any:
    """Tokens per second of trained steps: the same batches of equal length, everything learnt; then chats."""
    missing = _missing(options, "model", "data")
    if missing:
        return missing
    steps = 3 if options.quick else 12
    found: dict[str, Any] = {}
    for label, data in {
        "equal length, all learnt": {"file": "wiki", "batch": 2, "length": 512},
        "chats": {"file": "alpaca_en_demo.json", "batch": 4, "length": 512},
    }.items():
        one: dict[str, Any] = {}
        for name in ("plain_loop", "ours", "plain_trainer", "ours", "plain_loop"):  # in turn, against drift
            rate = alone(name, model=options.model, data=str(options.data), steps=steps, **data)
            one.setdefault(name, []).append(rate)
        best = {
            name: max((r["tokens_per_second"] for r in rates if "failed" not in r), default=0)
            for name, rates in one.items()
        }
        found[label] = {
            "tokens_per_second": {name: round(rate, 1) for name, rate in best.items()},
            "ours / plain loop": round(best["ours"] / max(best["plain_loop"], 1e-9), 3),
            "ours / Trainer": round(best["ours"] / max(best["plain_trainer"], 1e-9), 3),
            "first losses": {
                name: rates[0].get("losses", rates[0])[:3] for name, rates in one.items() if "failed" not in rates[0]
            },
        }
    found["Olive"] = "installed, not run" if importlib.util.find_spec("olive") else "not installed"
    return found


def packing(options: argparse.Namespace) -> Any:
    """Useful tokens per second on chats: packed, against padded batches of a plain loop and against ours unpacked."""
    missing = _missing(options, "model", "data")
    if missing:
        return missing
    steps = 3 if options.quick else 12
    common = {"model": options.model, "data": str(options.data), "steps": steps, "length": 1024}
    chats = {"file": "glaive_toolcall_en_demo.json"}
    packed = alone("ours", batch=2, packing=True, **chats, **common)
    unpacked = alone("ours", batch=2, **chats, **common)
    padded = alone("plain_loop", batch=8, **chats, **common)
    rates = {
        name: one.get("tokens_per_second", 0)
        for name, one in {"packed": packed, "unpacked": unpacked, "padded": padded}.items()
    }
    return {
        "useful tokens_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "packed / padded": round(rates["packed"] / max(rates["padded"], 1e-9), 2),
        "packed / ours unpacked (no padding either)": round(rates["packed"] / max(rates["unpacked"], 1e-9), 2),
    }


def start(options: argparse.Namespace) -> Any:
    """Seconds from the start of the process to the first step of a tiny model, against imports alone."""
    imports = min(_seconds("import torch, transformers, peft") for _ in range(3))
    first = min(alone("first_step")["seconds"] for _ in range(3))
    return {"imports": round(imports, 2), "first step": round(first, 2), "ratio": round(first / imports, 2)}


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - began


def methods(options: argparse.Namespace) -> Any:
    """Evaluation loss after 60 steps on instructions, by method."""
    missing = _missing(options, "model", "data")
    if missing:
        return missing
    steps = 15 if options.quick else 60
    return {
        name: alone("method", name=name, model=options.model, data=str(options.data), steps=steps)
        for name in ("LoRA", "DoRA", "QLoRA")
    }


def reviews(options: argparse.Namespace) -> Any:
    """Accuracy on reviews: ours, and a plain peft loop at the same settings."""
    missing = _missing(options, "classifier", "data")
    if missing:
        return missing
    epochs = 1 if options.quick else 3
    common = {"model": options.classifier, "data": str(options.data), "epochs": epochs}
    ours, plain = alone("reviews_ours", **common), alone("reviews_plain", **common)
    if "failed" in ours or "failed" in plain:
        return {"ours": ours, "plain": plain}
    return {"ours": ours, "plain": plain, "time ratio": round(ours["seconds"] / plain["seconds"], 3)}


def merge(options: argparse.Namespace) -> Any:
    """Largest difference of logits between merged, and base with adapter; the same bytes for the same seed."""
    missing = _missing(options, "model", "data")
    return missing or alone("merged", model=options.model, data=str(options.data))


def memory(options: argparse.Namespace) -> Any:
    """Estimate and measured peak."""
    missing = _missing(options, "model", "data")
    if missing:
        return missing
    cases = {
        "LoRA, batch 4": {"name": "LoRA", "batch": 4},
        "LoRA, batch 2, float32": {"name": "LoRA", "batch": 2, "torch_dtype": "float32"},
        "QLoRA, batch 4": {"name": "QLoRA", "batch": 4},
        "FullFinetune, batch 2": {"name": "FullFinetune", "batch": 2},
    }
    return {label: alone("peak", model=options.model, data=str(options.data), **case) for label, case in cases.items()}


if __name__ == "__main__":
    sys.exit(main())
