"""Quantisers side by side on one language model: size, error, perplexity, time, memory.

usage: python benchmarks/quantize.py MODEL_FOLDER TEXT_FILE [--groups 128 64] [--methods Rtn Gptq …]
       [--samples 128] [--length 512] [--tokens 20480] [--threads N] [--json FILE]

Calibration takes the text's second half, perplexity its beginning. Every quantiser runs in a process of its
own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = ("Rtn", "Hqq", "KQuant", "Gptq", "AutoAWQQuantizer")
CALIBRATED = ("Gptq", "AutoAWQQuantizer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--groups", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=20480)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_one(args, json.loads(args.one))))
        return
    rows = []
    base = _child(args, {"method": None})
    print(f"unquantised: perplexity {base['perplexity']:.3f}", flush=True)
    for group in args.groups:
        gap = None
        for method in args.methods:
            row = _child(args, {"method": method, "group": group})
            if method == "Rtn":
                gap = row["perplexity"] - base["perplexity"]
            closed = 1 - (row["perplexity"] - base["perplexity"]) / gap if gap else float("nan")
            row |= {"method": method, "group": group, "closed": closed}
            rows.append(row)
            print(
                f"{method:18} g{group:<4} {row['bits']:.3f} bits  perplexity {row['perplexity']:.3f}"
                f"  gap closed {closed:6.1%}  error {row['error']:.4f}  {row['seconds']:.1f} s"
                f" ({row['cpu']:.1f} s of CPU)  peak {row['rss_mb']:.0f} MB",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps({"base": base, "rows": rows}, indent=2))


def _child(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, str(args.model), str(args.text), "--one", json.dumps(job)]
    for name in ("samples", "length", "tokens", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(args.model)(args.text.read_text("utf-8")).input_ids
    if job["method"] is None:
        return {"perplexity": perplexity(args.model, tokens, args)}
    with tempfile.TemporaryDirectory() as folder:
        row = quantise(args, job, Path(folder), tokens)
        return row | {"perplexity": perplexity(Path(folder) / "out", tokens, args)}


def quantise(args: argparse.Namespace, job: dict[str, Any], folder: Path, tokens: list[int]) -> dict[str, Any]:
    from olive_like.artifacts import Dataset, HfModel
    from olive_like.data._tokenized import write
    from olive_like.passes import registry
    from olive_like.passes.base import Context

    for name in ("out", "scratch", "text"):
        (folder / name).mkdir()
    data = {}
    if job["method"] in CALIBRATED:
        half = tokens[len(tokens) // 2 :]
        texts = [half[i * args.length : (i + 1) * args.length] for i in range(args.samples)]
        texts = [text for text in texts if len(text) == args.length]
        write(folder / "text", "train", [{"input_ids": text, "labels": text} for text in texts], "lm")
        data["data_config"] = Dataset(folder / "text", {"format": "tokenized"})
    cls = registry.load(job["method"])
    group = "q_group_size" if job["method"] == "AutoAWQQuantizer" else "group_size"
    context = Context(folder / "out", folder / "scratch", threads=args.threads, data=data)
    started, cpu = time.perf_counter(), time.process_time()
    cls().apply([HfModel(args.model)], cls.Config(**{group: job["group"]}), context)
    report = json.loads((folder / "out" / "quantize.json").read_text())
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bits": report["quantized_bits_per_weight"],
        "error": report["mean_relative_error"],
        "bytes": report["bytes_after"],
    }


def perplexity(folder: Path, tokens: list[int], args: argparse.Namespace) -> float:
    import torch
    from transformers import AutoModelForCausalLM

    from olive_like.passes.quantize._dequant import load_quantized

    torch.set_num_threads(args.threads)
    model = load_quantized(folder, AutoModelForCausalLM)
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, min(args.tokens, len(tokens) // 2) - args.length + 1, args.length):
            piece = torch.tensor([tokens[start : start + args.length]])
            total += float(model(piece, labels=piece).loss) * (args.length - 1)
            count += args.length - 1
    return math.exp(total / count)


if __name__ == "__main__":
    main()
