"""Quantisers side by side on one language model: size, error, perplexity, time, memory.

usage: python benchmarks/quantize.py MODEL_FOLDER TEXT_FILE [--groups 128 64] [--methods Rtn Gptq …] [--sym]
       [--samples 128] [--length 512] [--windows 16] [--threads N] [--cache FILE]
       [--peers [NAME …]] [--python PACKAGE=INTERPRETER …]

Calibration takes the text's second half, perplexity the first --windows pieces of --length tokens of its beginning.
Every quantiser runs in a process of its own, so that its peak memory is its own. A row is printed, and put into
--cache, when it is there; rows that the cache has are not measured again.

--peers quantises with other libraries too, at the same setting and on the same text, and says which of them are not
installed. --python names the interpreter of the environment that a peer's package is installed in; else it is this one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = ("Rtn", "Hqq", "KQuant", "Gptq", "AutoAWQQuantizer", "LearnedRounding")
CALIBRATED = ("Gptq", "AutoAWQQuantizer", "LearnedRounding", "SparseGPT", "SliceGPT")
PRUNERS = {"SparseGPT": {"sparsity": 0.5}, "SliceGPT": {"sparsity": 0.25}}
PEERS = Path(__file__).with_name("quantize_peers.py")
_SETTING = ("samples", "length", "windows", "threads", "sym")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--groups", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--sym", action="store_true")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--peers", nargs="*")
    parser.add_argument("--python", nargs="+", default=[], metavar="PACKAGE=INTERPRETER")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that a peer may take")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_one(args, json.loads(args.one))))
        return
    interpreters = dict(entry.split("=", 1) for entry in args.python)
    peers = _installed(args.peers, interpreters) if args.peers is not None else {}
    cache = _Cache(args)
    base = cache.row({"method": None})
    print(f"unquantised: perplexity {base['perplexity']:.3f} on {args.windows} x {args.length} tokens", flush=True)
    for group in args.groups:
        plain = cache.row({"method": "Rtn", "group": group})
        for method in (name for name in args.methods if name not in PRUNERS):
            _show(method, group, cache.row({"method": method, "group": group}), base, plain)
        for name, python in peers.items():
            _show(name, group, cache.row({"peer": name, "python": python, "group": group}), base, plain)
    for method in (name for name in args.methods if name in PRUNERS):
        row = cache.row({"method": method})
        print(
            f"{method:18} {PRUNERS[method]['sparsity']:.0%} taken away: perplexity {row['perplexity']:.3f}"
            f"  {row['seconds']:.1f} s ({row['cpu']:.1f} s of CPU)  peak {row['rss_mb']:.0f} MB",
            flush=True,
        )


def _show(name: str, group: int, row: dict[str, Any], base: dict[str, Any], plain: dict[str, Any]) -> None:
    if "failed" in row:
        print(f"{name:18} g{group:<4} failed: {row['failed']}", flush=True)
        return
    closed, doubt = gap_closed(base["losses"], plain["losses"], row["losses"])
    own = f"{row['bits']:.3f} bits  error {row['error']:.4f}  " if "bits" in row else " " * 26
    print(
        f"{name:18} g{group:<4} {own}perplexity {row['perplexity']:.3f}  gap closed {closed:4.0%} ± {doubt:.0%}"
        f"  {row['seconds']:.1f} s ({row['cpu']:.1f} s of CPU)  peak {row['rss_mb']:.0f} MB",
        flush=True,
    )


def gap_closed(base: list[float], plain: list[float], losses: list[float]) -> tuple[float, float]:
    """Share of the perplexity that rounding costs which a method saves, and its standard error over the windows."""

    def share(left_out: int | None) -> float:
        at, low, high = (
            math.exp(statistics.fmean(loss for i, loss in enumerate(rows) if i != left_out))
            for rows in (losses, base, plain)
        )
        return 1 - (at - low) / (high - low)

    count = len(base)
    without = [share(i) for i in range(count)]
    mean = statistics.fmean(without)
    return share(None), math.sqrt((count - 1) / count * sum((value - mean) ** 2 for value in without))


class _Cache:
    """Rows that were measured, one line of JSON each, known by all that can change them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        weights = sorted(args.model.glob("*.safetensors"))
        self.setting = {name: getattr(args, name) for name in _SETTING}
        self.setting |= {"model": [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in weights]}
        self.rows: dict[str, dict[str, Any]] = {}
        if args.cache and args.cache.exists():
            for line in args.cache.read_text().splitlines():
                entry = json.loads(line)
                self.rows[json.dumps(entry["job"])] = entry["row"]

    def row(self, job: dict[str, Any]) -> dict[str, Any]:
        full = job | self.setting
        if "peer" not in job and job["method"] not in CALIBRATED:
            del full["samples"]
        if (name := json.dumps(full)) not in self.rows:
            self.rows[name] = _child(self.args, job)
            if self.args.cache:
                with self.args.cache.open("a") as file:
                    file.write(json.dumps({"job": full, "row": self.rows[name]}) + "\n")
        return self.rows[name]


def _installed(names: list[str], interpreters: dict[str, str]) -> dict[str, str]:
    """The peers that are there, by the interpreters that have them."""
    found = {}
    listing = subprocess.run([sys.executable, PEERS, "--list"], capture_output=True, text=True, check=True)
    known: dict[str, str] = json.loads(listing.stdout)
    if unknown := set(names) - set(known):
        sys.exit(f"no peer is called {', '.join(unknown)}; there are {', '.join(known)}")
    for name in names or known:
        python = interpreters.get(known[name], sys.executable)
        done = subprocess.run([python, PEERS, "--version", name], capture_output=True, text=True)
        version = done.stdout.strip()
        print(f"{name:18} {known[name]} {version or 'is not installed'}", flush=True)
        if version:
            found[name] = python
    return found


def _child(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, str(args.model), str(args.text), "--one", json.dumps(job)]
    for name in (*_SETTING[:-1], "limit"):
        command += [f"--{name}", str(getattr(args, name))]
    command += ["--sym"] if args.sym else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(args.model)(args.text.read_text("utf-8")).input_ids
    if job.get("method", "") is None:
        return _perplexity(args.model, tokens, args)
    half = tokens[len(tokens) // 2 :]
    texts = [half[i * args.length : (i + 1) * args.length] for i in range(args.samples)]
    texts = [text for text in texts if len(text) == args.length]
    with tempfile.TemporaryDirectory() as folder:
        row = (_peer if "peer" in job else _quantise)(args, job, Path(folder), texts)
        return row if "failed" in row else row | _perplexity(Path(folder) / "out", tokens, args)


def _quantise(args: argparse.Namespace, job: dict[str, Any], folder: Path, texts: list[list[int]]) -> dict[str, Any]:
    from olive_like.artifacts import Dataset, HfModel
    from olive_like.data._tokenized import write
    from olive_like.passes import registry
    from olive_like.passes.base import Context

    for name in ("out", "scratch", "text"):
        (folder / name).mkdir()
    data = {}
    cls = registry.load(job["method"])
    if job["method"] in CALIBRATED:
        write(folder / "text", "train", [{"input_ids": text, "labels": text} for text in texts], "lm")
        field = next(name for name in cls.Config.model_fields if name.endswith("data_config"))
        data[field] = Dataset(folder / "text", {"format": "tokenized"})
    settings = PRUNERS.get(job["method"]) or _grouped(job, args)
    context = Context(folder / "out", folder / "scratch", threads=args.threads, data=data)
    started, cpu = time.perf_counter(), time.process_time()
    cls().apply([HfModel(args.model)], cls.Config(**settings), context)
    row = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if job["method"] in PRUNERS:
        return row
    report = json.loads((folder / "out" / "quantize.json").read_text())
    return row | {
        "bits": report["quantized_bits_per_weight"],
        "error": report["mean_relative_error"],
        "bytes": report["bytes_after"],
    }


def _grouped(job: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    if job["method"] == "AutoAWQQuantizer":
        return {"q_group_size": job["group"], "zero_point": not args.sym}
    return {"group_size": job["group"], "sym": args.sym}


def _peer(args: argparse.Namespace, job: dict[str, Any], folder: Path, texts: list[list[int]]) -> dict[str, Any]:
    """Another library's result, which its own process leaves as dense weights; or why there is none."""
    (folder / "text.json").write_text(json.dumps(texts))
    task = {
        "model": str(args.model.resolve()), "text": str(folder / "text.json"), "out": str(folder / "out"),
        "group": job["group"], "sym": args.sym, "threads": args.threads,
    }  # fmt: skip
    command = [job["python"], str(PEERS), job["peer"], json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.limit, cwd=folder)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {args.limit:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _perplexity(folder: Path, tokens: list[int], args: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    from olive_like.passes.quantize._dequant import load_quantized

    torch.set_num_threads(args.threads)
    model = load_quantized(folder, AutoModelForCausalLM)
    losses = []
    with torch.inference_mode():
        for window in range(args.windows):
            piece = torch.tensor([tokens[window * args.length : (window + 1) * args.length]])
            losses.append(float(model(piece, labels=piece).loss))
    return {"perplexity": math.exp(statistics.fmean(losses)), "losses": losses}


if __name__ == "__main__":
    main()
