"""Memory of quantisers: calibrated ones on models of 4, 8 and 16 layers, Rtn on a model of a gibibyte.

usage: python benchmarks/quantize_memory.py [--layers 4 8 16] [--methods Gptq …] [--samples 16] [--width 1024]
       [--gib 1.0] [--threads N] [--folder DIR]

Bars: the peak memory of calibrated passes is flat within 15 % over the layers; Rtn takes at most 2.5 times as long as
reading the model and writing the result, and at most 600 MB. Both read files that the system has in its memory and
both end when what they wrote is on the disk (fsync); medians of three. Peak memory is the resident set, in which
mapped files count. Importing the libraries is timed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PIECE = 8 << 20
_ROUNDS = 3
_SETTINGS = {"LearnedRounding": {"iterations": 8}}  # each takes the same memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--methods", nargs="*", default=["Gptq", "AutoAWQQuantizer", "LearnedRounding"])
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--width", type=int, default=1024, help="of the models whose layers are counted")
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
                row = _child(
                    args,
                    {"method": method, "folder": f"{folder}/{method}{layers}", "layers": layers, "width": args.width},
                )
                peaks.append(row["rss_mb"])
                print(f"{method} {layers:3} layers: peak {row['rss_mb']:.0f} MB, {row['cpu']:.1f} s of CPU", flush=True)
            print(f"{method}: most over least {max(peaks) / min(peaks):.3f}", flush=True)
        if not args.gib:
            return
        layers = round(args.gib * 2**30 / (2 * 12_845_056))
        row = _child(args, {"method": "Rtn", "folder": f"{folder}/rtn", "layers": layers, "width": 1024})
        print(
            f"Rtn of {row['bytes'] / 2**30:.2f} GiB: peak {row['rss_mb']:.0f} MB, {row['seconds']:.2f} s "
            f"({row['cpu']:.2f} s of CPU); reading and writing alone {row['copy']:.2f} s, "
            f"{row['seconds'] / row['copy']:.2f} times that; imports before it {row['imports']:.1f} s"
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
    return _make(folder, job["layers"], job["width"]) if job["stage"] == "make" else _run(folder, job, threads)


def _make(folder: Path, layers: int, width: int = 1024) -> dict[str, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = width // 64
    config = LlamaConfig(
        hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, vocab_size=4096, max_position_embeddings=1024, dtype="bfloat16",
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

    for name in ("scratch", "text"):
        (folder / name).mkdir()
    draw = random.Random(0)
    texts = [[draw.randrange(4096) for _ in range(512)] for _ in range(job["samples"])]
    write(folder / "text", "train", [{"input_ids": text, "labels": text} for text in texts], "lm")
    data = {} if job["method"] == "Rtn" else {"data_config": Dataset(folder / "text", {"format": "tokenized"})}
    started = time.perf_counter()
    cls = registry.load(job["method"])
    from olive_like.passes.quantize._skeleton import load_skeleton

    load_skeleton(folder / "model")  # what importing the libraries takes is measured apart
    imports = time.perf_counter() - started
    rounds = []
    for _ in range(_ROUNDS if job["method"] == "Rtn" else 1):
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        read = _read(folder / "model")  # so that the files are in memory for all alike
        started, cpu = time.perf_counter(), time.process_time()
        config = cls.Config(**_SETTINGS.get(job["method"], {}))
        context = Context(out, folder / "scratch", threads=threads, data=data)
        cls().apply([HfModel(folder / "model")], config, context)
        _sync(out)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
        started = time.perf_counter()
        _read(folder / "model")
        _write(folder / "copy", written)
        rounds.append((seconds, cpu, time.perf_counter() - started))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, cpu, copy = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {"seconds": seconds, "cpu": cpu, "copy": copy, "imports": imports, "rss_mb": peak, "bytes": read}


def _read(folder: Path) -> int:
    """Read a folder's weights; how many bytes that were."""
    total, buffer = 0, bytearray(_PIECE)
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                total += count
    return total


def _write(path: Path, size: int) -> None:
    """Write so many bytes, down to the disk."""
    buffer = memoryview(bytes(_PIECE))
    with path.open("wb", buffering=0) as stream:
        while size:
            size -= stream.write(buffer[: min(size, len(buffer))])
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Down to the disk, as the store does it with every result."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
