"""Passes on ONNX models measured: time and memory on a large graph, size and speed of quantised models.

usage: python benchmarks/onnx_passes.py large [--gigabytes 1] [--threads N] [--header]
       python benchmarks/onnx_passes.py classifier ONNX_FOLDER ROWS_JSONL [--length 64]
       python benchmarks/onnx_passes.py decoder ONNX_FOLDER [--tokens 64]

`large` makes a graph of plain matrices; its passes, and reading and writing alone, read files that the system has in
its memory and end when what they wrote is on the disk (fsync). `classifier` takes a text classifier with its
tokenizer and labelled rows (text, label). `decoder` takes a language model with a cache. Every pass runs in a process
of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

WIDTH = 4096
_PIECE = 8 << 20
HEADER_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("AddOliveMetadata", {"graph_name": "renamed"}),
    ("GraphSurgeries", {"surgeries": [{"surgeon": "RenameInputs", "old_names": ["x"], "new_names": ["input"]}]}),
    ("DynamicToFixedShape", {"dim_param": ["batch"], "dim_value": [2]}),
    ("OnnxIODataTypeConverter", {"name_pattern": "^z", "source_dtype": 1, "target_dtype": 10}),
]
STREAMING: list[tuple[str, dict[str, Any]]] = [
    ("OnnxBlockWiseRtnQuantization", {"verify": "off"}),
    ("OnnxBlockWiseRtnQuantization", {"verify": "off", "bits": 8}),
    ("OnnxKQuantQuantization", {"verify": "off"}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    commands = parser.add_subparsers(dest="command", required=True)
    large = commands.add_parser("large")
    large.add_argument("--gigabytes", type=float, default=1.0)
    large.add_argument("--header", action="store_true", help="only the passes that leave the weights alone")
    classifier = commands.add_parser("classifier")
    classifier.add_argument("model", type=Path)
    classifier.add_argument("rows", type=Path)
    classifier.add_argument("--length", type=int, default=64)
    decoder = commands.add_parser("decoder")
    decoder.add_argument("model", type=Path)
    decoder.add_argument("--tokens", type=int, default=64)
    one = commands.add_parser("one")
    one.add_argument("job")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        {"large": _large, "classifier": _classifier, "decoder": _decoder, "one": _one}[args.command](args, Path(folder))


def _run(model: Path, output: Path, name: str, settings: dict[str, Any], threads: int) -> dict[str, float]:
    """Run a pass in a process of its own; its seconds and peak megabytes, imports not counted."""
    job = json.dumps([str(model), str(output), name, settings, threads])
    done = subprocess.run([sys.executable, __file__, "one", job], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one(args: argparse.Namespace, folder: Path) -> None:
    import numpy  # noqa: F401 - the libraries' own time and memory are not the pass's
    import onnx_ir  # noqa: F401
    import onnxruntime  # noqa: F401

    from olive_like.artifacts import OnnxModel
    from olive_like.passes import registry
    from olive_like.passes.base import Context

    model, output, name, settings, threads = json.loads(args.job)
    cls = registry.load(name)
    context = Context(output=Path(output), scratch=folder, threads=threads)
    source = OnnxModel(Path(model))
    for file in source.path.iterdir():
        _read(file)  # so that the files are in memory for all alike
    start = time.perf_counter()
    cls().apply([source], cls.Config(**settings), context)
    through = time.perf_counter() - start
    for file in context.output.rglob("*"):
        if file.is_file():
            _sync(file)  # as the store does it with every result
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pass": through, "seconds": seconds, "mb": peak}))


def _large(args: argparse.Namespace, folder: Path) -> None:
    model = folder / "large"
    _write_large(model, args.gigabytes)
    data = model / "model.onnx.data"
    for name, settings in HEADER_ONLY if args.header else [*HEADER_ONLY, *STREAMING]:
        output = folder / "output"
        output.mkdir()
        row = _run(model, output, name, settings, args.threads)
        written = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
        floor = _copy_seconds(data, folder / "copy", written)
        said = " ".join(f"{key}={value}" for key, value in settings.items() if key != "surgeries")
        print(
            f"{name:30} {said:40.40} {row['pass']:6.2f} s, on disk {row['seconds']:6.2f} s  {row['mb']:5.0f} MB"
            f"  reading and writing the bytes {floor:5.2f} s ({row['seconds'] / floor:.1f} x)",
            flush=True,
        )
        shutil.rmtree(output)


def _copy_seconds(source: Path, target: Path, written: int) -> float:
    """Seconds to read a file that is in memory and write so many bytes down to the same disk."""
    _read(source)
    start = time.perf_counter()
    _read(source)
    buffer = memoryview(bytes(_PIECE))
    with open(target, "wb", buffering=0) as new:
        while written:
            written -= new.write(buffer[: min(written, len(buffer))])
    _sync(target)
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds


def _read(path: Path) -> None:
    buffer = bytearray(_PIECE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _write_large(folder: Path, gigabytes: float) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir()
    size = 4 * WIDTH * WIDTH
    layers = max(1, round(gigabytes * 2**30 / size))
    base = (np.random.default_rng(0).standard_normal((WIDTH, WIDTH)) / 64).astype(np.float32)
    nodes, weights = [], []
    with open(folder / "model.onnx.data", "wb") as file:
        for index in range(layers):
            (base * np.float32(1 + index / 100)).tofile(file)
            weight = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
            weight.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "model.onnx.data"), ("offset", index * size), ("length", size)):
                weight.external_data.add(key=key, value=str(value))
            weights.append(weight)
            source = f"z{index - 1}" if index else "x"
            nodes.append(helper.make_node("MatMul", [source, f"w{index}"], [f"y{index}"], f"matmul{index}"))
            nodes.append(helper.make_node("Tanh", [f"y{index}"], [f"z{index}"], f"tanh{index}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", f"z{layers - 1}")
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "model.onnx"
    )


def _session(folder: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(next(folder.glob("*.onnx"))), options, providers=["CPUExecutionProvider"])


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".onnx", ".data"))


def _classifier(args: argparse.Namespace, folder: Path) -> None:
    """Accuracy, size and time at batch 1, before and after."""
    import numpy as np
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    first: tuple[float, float, int] | None = None
    for name in ("", "OnnxDynamicQuantization", "OnnxBlockWiseRtnQuantization"):
        model = folder / (name or "none")
        if name:
            model.mkdir()
            _run(args.model, model, name, {"verify": "off"}, args.threads)
        model = model if name else args.model
        session = _session(model, args.threads)
        wanted = [value.name for value in session.get_inputs()]
        right = 0
        for start in range(0, len(rows), 16):
            batch = rows[start : start + 16]
            feeds = tokenizer([row["text"] for row in batch], padding=True, truncation=True, return_tensors="np")
            logits = session.run(None, {key: feeds[key].astype(np.int64) for key in wanted})[0]
            right += int((logits.argmax(-1) == [int(row["label"]) for row in batch]).sum())
        text = tokenizer("film " * args.length, truncation=True, max_length=args.length, return_tensors="np")
        seconds = _time(session, {key: text[key].astype(np.int64) for key in wanted})
        row = (right / len(rows), seconds, _bytes(model))
        first = first or row
        print(
            f"{name or 'float32':30} accuracy {row[0]:.4f} ({row[0] - first[0]:+.4f})  {row[1] * 1000:7.2f} ms"
            f" ({first[1] / row[1]:.2f} x as fast)  {row[2]:>12,} bytes ({row[2] / first[2]:.3f} x)",
            flush=True,
        )


def _time(session: Any, feeds: dict[str, Any], runs: int = 50) -> float:
    for _ in range(5):
        session.run(None, feeds)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return median(times)


def _decoder(args: argparse.Namespace, folder: Path) -> None:
    """Size and decoded tokens per second, before and after."""
    from olive_like.artifacts import OnnxModel
    from olive_like.passes._onnx_runtime import Decoder

    first: tuple[float, int] | None = None
    prompt = list(range(5, 21))
    for name, settings in (
        ("", {}),
        ("OnnxBlockWiseRtnQuantization", {"block_size": 32}),
        ("OnnxBlockWiseRtnQuantization", {"block_size": 128}),
        ("OnnxDynamicQuantization", {}),
    ):
        model = args.model
        if name:
            model = folder / f"{name}{settings.get('block_size', '')}"
            model.mkdir()
            _run(args.model, model, name, {"verify": "off", **settings}, args.threads)
        decoder = Decoder(OnnxModel(model), threads=args.threads)
        decoder.generate(prompt, 4)
        start = time.perf_counter()
        made = len(decoder.generate(prompt, args.tokens))
        row = (made / (time.perf_counter() - start), _bytes(model))
        first = first or row
        print(
            f"{name or 'float32':30} {settings!s:24} {row[0]:7.1f} tokens/s ({row[0] / first[0]:.2f} x)"
            f"  {row[1]:>13,} bytes ({row[1] / first[1]:.3f} x)",
            flush=True,
        )
        del decoder


if __name__ == "__main__":
    main()
