"""Memory of quantisers: calibrated ones on models of 4, 8 and 16 layers, Rtn on a model of a gibibyte.

usage: python benchmarks/quantize_memory.py [--layers 4 8 16] [--methods Gptq …] [--samples 16] [--gib 1.0]
       [--threads N] [--folder DIR]

Bars: the peak memory of Gptq and AWQ is flat within 15 % over the layers; Rtn takes at most 2.5 times as long as
reading the model and writing the result, and at most 600 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--methods", nargs="*", default=["Gptq", "AutoAWQQuantizer"])
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_one(json.loads(args.one), args.threads)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for method in args.methods:
            peaks = []
            for layers in args.layers:
                row = _child(args, {"method": method, "folder": f"{folder}/{method}{layers}", "layers": layers})
                peaks.append(row["rss_mb"])
                print(f"{method} {layers:3} layers: peak {row['rss_mb']:.0f} MB, {row['cpu']:.1f} s of CPU", flush=True)
            print(f"{method}: most over least {max(peaks) / min(peaks):.3f}", flush=True)
        layers = round(args.gib * 2**30 / (2 * 12_845_056))
        row = _child(args, {"method": "Rtn", "folder": f"{folder}/rtn", "layers": layers})
        print(
            f"Rtn of {row['bytes'] / 2**30:.2f} GiB: peak {row['rss_mb']:.0f} MB, {row['seconds']:.1f} s "
            f"({row['cpu']:.1f} s of CPU); reading and writing alone {row['copy']:.1f} s, "
            f"{row['seconds'] / row['copy']:.2f} times that"
        )


def _child(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    for stage in ("make", "run"):
        command = [
            sys.executable,
            __file__,
            "--threads",
            str(args.threads),
            "--one",
            json.dumps(job | {"stage": stage, "samples": args.samples}),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one(job: dict[str, Any], threads: int) -> dict[str, Any]:
    folder = Path(job["folder"])
    return _make(folder, job["layers"]) if job["stage"] == "make" else _run(folder, job, threads)


def _make(folder: Path, layers: int) -> dict[str, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=1024, intermediate_size=2816, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=16, vocab_size=4096, max_position_embeddings=1024, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")
    return {}


def _run(folder: Path, job: dict[str, Any], threads: int) -> dict[str, Any]:
    import random

    from olive_like.artifacts import Dataset, HfModel
    from olive_like.data._tokenized import write
    from olive_like.passes import registry
    from olive_like.passes.base import Context

    for name in ("out", "scratch", "text"):
        (folder / name).mkdir()
    draw = random.Random(0)
    texts = [[draw.randrange(4096) for _ in range(512)] for _ in range(job["samples"])]
    write(folder / "text", "train", [{"input_ids": text, "labels": text} for text in texts], "lm")
    data = {} if job["method"] == "Rtn" else {"data_config": Dataset(folder / "text", {"format": "tokenized"})}
    cls = registry.load(job["method"])
    from olive_like.passes.quantize import _weightonly  # noqa: F401  (imports are not part of the time)

    context = Context(folder / "out", folder / "scratch", threads=threads, data=data)
    started, cpu = time.perf_counter(), time.process_time()
    cls().apply([HfModel(folder / "model")], cls.Config(), context)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    read = _copy(folder / "model", None) + _copy(folder / "out", folder / "copy")
    copy = time.perf_counter() - started
    return {"seconds": seconds, "cpu": cpu, "rss_mb": peak, "copy": copy, "bytes": read}


def _copy(source: Path, target: Path | None) -> int:
    """Read a folder's weights, and write them if there is a target; bytes read of the first."""
    total = 0
    for file in sorted(source.glob("*.safetensors")):
        with file.open("rb") as stream, open(os.devnull if target is None else target, "wb") as out:
            while piece := stream.read(8 << 20):
                if target is not None:
                    out.write(piece)
                total += len(piece)
            if target is not None:
                out.flush()
                os.fsync(out.fileno())
    return total if target is None else 0


if __name__ == "__main__":
    main()
