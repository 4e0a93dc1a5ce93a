"""Decoding and prefill on the CPU: the optimised graph beside the plain export and beside onnxruntime-genai's builder.

    python benchmarks/decode_speed.py MODEL [--precision fp32 int4] [--prompt 256] [--tokens 24] [--rounds 5]

MODEL is a folder of a Hugging Face language model. The optimised graph is what the passes make that `olive-like
optimize` chooses; with PruneLmHead it gives logits of the last position alone, as does the builder's with its
prune_lm_head. All graphs are run by the same loop on the same onnxruntime, the cache handed from step to step without
a copy; what is timed is the runtime. Where weights happen to lie in memory makes a tenth or more of the time, so every
round opens each graph anew, alone, in another order; printed are medians. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402

from olive_like.artifacts import Artifact, HfModel  # noqa: E402
from olive_like.passes import registry  # noqa: E402
from olive_like.passes.base import Context  # noqa: E402
from olive_like.search.rules import Wish, choose  # noqa: E402

EXPORT, OURS, BUILDER = "export", "optimised", "ModelBuilder"
_WARM = 3  # tokens
PLAIN, LAST = ", rounded plainly", ", last position"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32", "int4"])
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="where models are built, and found if they are there already")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        work = args.work or Path(temporary)
        for precision in args.precision:
            _report(precision, _models(args.model, precision, work, args.threads), args)


def _models(source: Path, precision: str, work: Path, threads: int) -> dict[str, Path]:
    """All graphs; the plain export is float32, whatever the precision."""
    model = HfModel(source, {"task": "text-generation"})
    ours = _passes(Wish("language", precision=precision))
    builder = _passes(Wish("language", precision=precision, exporter="model_builder"))
    pruned = [{**builder[0], "extra_options": {"prune_lm_head": True}}, *builder[1:]]
    export = _built(model, ours[:1], work / EXPORT, threads)
    made = {EXPORT: export, OURS: _built(export, ours[1:], work / f"{OURS}-{precision}", threads)}
    best = OURS
    if precision == "int4":  # the builder rounds plainly, which is quicker to compute with than what keeps more
        best, plain = OURS + PLAIN, {"type": "OnnxBlockWiseRtnQuantization", "bits": 4, "block_size": 32}
        made[best] = _built(export, [ours[1], plain], work / "plain-int4", threads)
    made[BUILDER] = _built(model, builder, work / f"{BUILDER}-{precision}", threads)
    made[best + LAST] = _built(made[best], [_PRUNE], work / f"{OURS}-{precision}-last", threads)
    made[BUILDER + LAST] = _built(model, pruned, work / f"{BUILDER}-{precision}-last", threads)
    return {name: artifact.path for name, artifact in made.items()}


_PRUNE: dict[str, Any] = {"type": "GraphSurgeries", "surgeries": [{"surgeon": "PruneLmHead"}]}


def _passes(wish: Wish) -> list[dict[str, Any]]:
    return list(choose(wish).passes.values())


def _built(model: Artifact, passes: Sequence[dict[str, Any]], folder: Path, threads: int) -> Artifact:
    """What the passes make of a model, one after the other."""
    for index, settings in enumerate(passes):
        cls = registry.load(settings["type"])
        output = folder / f"{index}-{settings['type']}"
        if not output.exists():
            output.mkdir(parents=True)
            scratch = folder / "scratch"
            scratch.mkdir(exist_ok=True)
            config = cls.Config(**{"verify": "off", **{k: v for k, v in settings.items() if k != "type"}})
            cls().apply([model], config, Context(output, scratch, threads=threads))
        from olive_like.artifacts import OnnxModel

        model = OnnxModel(output, {"file": "model.onnx", "task": "text-generation"})
    return model


class Loop:
    """Greedy decoding with one graph."""

    def __init__(self, folder: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._cache: dict[str, ort.OrtValue] = {}
        self._seen = 0
        self.seconds = 0.0  # that the last step took

    def start(self) -> None:
        """Forget everything."""
        self._seen = 0
        self._cache = {
            name: ort.OrtValue.ortvalue_from_numpy(np.zeros([1, value.shape[1], 0, _width(value)], np.float32))
            for name, value in self._inputs.items()
            if name.startswith("past")
        }

    def step(self, tokens: Sequence[int]) -> int:
        """Read tokens; the most likely next one."""
        end = self._seen + len(tokens)
        given = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(self._seen, end, dtype=np.int64)[None],
        }
        feeds = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in given.items() if k in self._inputs}
        feeds |= self._cache
        start = time.perf_counter()
        results = self._session.run_with_ort_values(self._outputs, feeds)
        self.seconds = time.perf_counter() - start
        made = dict(zip(self._outputs, results, strict=True))
        self._cache = {name: made[name.replace("past_key_values", "present")] for name in self._cache}
        self._seen = end
        return int(made["logits"].numpy()[0, -1].argmax())


_WIDTHS: dict[str, int] = {}


def _width(value: Any) -> int:
    """The width of a head; the builder leaves it open."""
    if isinstance(value.shape[3], int):
        _WIDTHS[value.name] = value.shape[3]
    return _WIDTHS[value.name]


def _report(precision: str, folders: dict[str, Path], args: argparse.Namespace) -> None:
    names = list(folders)
    prompt = np.random.default_rng(0).integers(100, 4000, args.prompt).tolist()
    prefill: dict[str, list[float]] = {name: [] for name in names}
    decode: dict[str, list[float]] = {name: [] for name in names}
    said: dict[str, list[int]] = {}
    for turn in range(args.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            loop = Loop(folders[name], args.threads)
            for timed in (False, True, True):  # the first warms up
                loop.start()
                tokens = [loop.step(prompt)]
                if timed:
                    prefill[name].append(loop.seconds)
                for _ in range(args.tokens if timed else _WARM):
                    tokens.append(loop.step(tokens[-1:]))
                    if timed:
                        decode[name].append(loop.seconds)
            said[name] = tokens
            del loop
    print(f"\n{precision}, {args.threads} threads, a prompt of {args.prompt} tokens, {args.tokens} decoded")
    print("| graph | nodes | MB | prefill, tokens/s | x export | x builder | decode, ms/token | x export | x builder "
          "| tokens as export's |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, folder in folders.items():
        pre, dec = median(prefill[name]), median(decode[name])
        builder = BUILDER + LAST if name.endswith(LAST) else BUILDER  # like with like
        shares = [median(figures[other]) / own for figures, own in ((prefill, pre), (decode, dec))
                  for other in (EXPORT, builder)]  # fmt: skip
        same = sum(a == b for a, b in zip(said[name], said[EXPORT], strict=True))
        size = sum(file.stat().st_size for file in folder.glob("model.onnx*")) / 1e6
        print(f"| {name} | {_nodes(folder)} | {size:.0f} | {args.prompt / pre:.0f} | {shares[0]:.2f} | {shares[1]:.2f} "
              f"| {dec * 1000:.1f} | {shares[2]:.2f} | {shares[3]:.2f} | {same} of {len(said[name])} |",
              flush=True)  # fmt: skip
    size = sum(file.stat().st_size for file in folders[OURS].glob("model.onnx*"))
    once = _reading(size, args.threads) * 1000
    print(f"to read {size / 1e6:.0f} MB once and add them up takes {once:.1f} ms: no step "
          "of decoding can be quicker", flush=True)  # fmt: skip


def _reading(size: int, threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    numbers, taken = torch.ones(size // 4), []
    for _ in range(20):
        start = time.perf_counter()
        numbers.sum()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _nodes(folder: Path) -> int:
    import onnx

    return len(onnx.load(folder / "model.onnx", load_external_data=False).graph.node)


if __name__ == "__main__":
    main()
