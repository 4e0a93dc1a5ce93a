"""Ranks on this machine: memory of the model's state by stage, and speed, against ZeRO's formula and plain DeepSpeed.

    python benchmarks/systems.py [--memory] [--speed] [--ranks 2] [--turns 6] [--json FILE]

Memory is what torch's tensors of a rank occupy at most: parameters, gradients and optimizer, in two steps of full
fine-tuning with Adam, two batches each. Speed is that of the same training, from the first step to the last, in a
script under `deepspeed` and as a pass of ours on the system deepspeed, by turns, each of the two first as often as
second. What counts is the ratio of the medians; less than 0.95 is exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS = [{"prompt": f"what is {i}?", "completion": f" it is {i * 2} and some more words"} for i in range(400)]
STAGES = ("ddp", "zero1", "zero2", "zero3")


def formula(stage: str, parameters: int, ranks: int) -> float:
    """ZeRO's arithmetic for Adam, bytes per parameter and rank.

    Under DeepSpeed in bfloat16: 2 for the weight, 2 for the gradient, 12 for the optimizer (weight and two moments
    in float32). Without it in float32: 4, 4 and 8.
    """
    share = {
        "ddp": 4 + 4 + 8,
        "zero1": 2 + 2 + 12 / ranks,
        "zero2": 2 + (2 + 12) / ranks,
        "zero3": (2 + 2 + 12) / ranks,
    }
    return parameters * share[stage]


def environment() -> dict[str, str]:
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.pathsep.join(paths)}


def launched(ranks: int, script: str, *arguments: str) -> list[dict[str, Any]]:
    """What the ranks of a script under plain DeepSpeed print as JSON."""
    from olive_like.engine.process import _filled
    from olive_like.systems.launchers import Ranks, deepspeed

    command = [_filled(part) for part in deepspeed(Ranks(ranks))][:-1]
    done = subprocess.run([*command, str(HERE / script), *arguments], env=environment(), capture_output=True, text=True)
    found = [json.loads(text) for text in re.findall(r"JSON (\{.*?\})", done.stdout)]  # two may share a line
    if done.returncode or not found:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return found


def memory(ranks: int, hidden: int) -> list[dict[str, Any]]:
    rows = []
    for stage in STAGES:
        found = launched(ranks, "systems_memory.py", stage, str(hidden))
        measured = max(one["bytes"] for one in found)
        wanted = formula(stage, found[0]["parameters"], ranks)
        rows.append({"stage": stage, "parameters": found[0]["parameters"], "measured": measured, "formula": wanted})
        print(
            f"{stage:6} {measured / 2**20:8.1f} MiB a rank, the formula says {wanted / 2**20:8.1f} "
            f"({(measured / wanted - 1) * 100:+.1f} %)",
            flush=True,
        )
    return rows


def speed(ranks: int, stage: int, steps: int, turns: int) -> dict[str, Any]:
    """Samples a second of a pass and of the script, by turns."""
    from tests.tiny_models import tiny_llama

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = tiny_llama(root / "model", hidden_size=256, intermediate_size=512, num_hidden_layers=4).path
        ours, plain = [], []
        for turn in range(turns):
            for first in (turn % 2 == 0, turn % 2 == 1):
                if first:
                    ours.append(ours_once(root, model, ranks, stage, steps, turn))
                else:
                    told = launched(ranks, "systems_plain.py", str(model), str(stage), str(steps))
                    plain.append(told[0]["samples_per_second"])
            print(f"ours {ours[-1]:.1f}, plain DeepSpeed {plain[-1]:.1f} samples a second", flush=True)
    middle, other = statistics.median(ours), statistics.median(plain)
    apart = [one / two for one, two in zip(ours, plain, strict=True)]
    print(
        f"medians: ours {middle:.1f}, plain DeepSpeed {other:.1f} samples a second; ratio {middle / other:.3f} "
        f"(single turns {min(apart):.3f} to {max(apart):.3f})"
    )
    return {"ours": ours, "plain": plain, "ratio": middle / other}


def ours_once(root: Path, model: Path, ranks: int, stage: int, steps: int, turn: int) -> float:
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(model)},
        "data_configs": [{"name": "rows", "rows": ROWS}],
        "systems": {"ranks": {"type": "deepspeed", "ranks": ranks, "stage": stage, "device": "cpu"}},
        "system": "ranks",
        "passes": {
            "train": {
                "type": "LoRA", "train_data_config": "rows", "r": 8, "max_steps": steps, "save_steps": 10_000,
                "per_device_train_batch_size": 4, "torch_dtype": "float32", "logging_steps": 10_000, "seed": turn,
            }
        },
        "cache_dir": str(root / "cache"),
        "output_dir": str(root / "out"),
    }  # fmt: skip
    path = root / "flow.json"
    path.write_text(json.dumps(flow))
    code = "import sys; from olive_like.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(path), "--json"], env=environment(), capture_output=True, text=True
    )
    train = next(one for one in json.loads(done.stdout)["passes"] if one["name"] == "train")
    if train["status"] != "ran":
        raise SystemExit(json.dumps(train["error"], indent=2))
    return float(train["metrics"]["samples_per_second"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="only the memory of the model's state")
    parser.add_argument("--speed", action="store_true", help="only the speed")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--stage", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--turns", type=int, default=6, help="how often each of the two is timed")
    parser.add_argument("--hidden", type=int, default=512, help="width of the model whose memory is measured")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.memory or not args.speed:
        found["memory"] = memory(args.ranks, args.hidden)
    if args.speed or not args.memory:
        found["speed"] = speed(args.ranks, args.stage, args.steps, args.turns)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if found.get("speed", {}).get("ratio", 1.0) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
