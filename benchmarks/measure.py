"""Latency as Evaluate measures it beside a plain loop around onnxruntime's session.

    python benchmarks/measure.py [--rounds N]

Both measure the same model with the same number of threads, turn by turn, so that what else the machine does meets
both. Printed are the medians over all rounds and how far they are apart; more than 5 % is exit code 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

_WIDTH, _LAYERS, _BATCH = 256, 6, 64
_CALLS = 200


def make_model(path: Path) -> None:
    """A stack of matrix products, large enough to take about a millisecond."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for layer in range(_LAYERS):
        value = (random.standard_normal((_WIDTH, _WIDTH)) / 16).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{layer}"))
        nodes += [helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]),
                  helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"])]  # fmt: skip
        last = f"r{layer}"
    shape = ["batch", _WIDTH]
    graph = helper.make_graph(
        nodes, "stack", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)


def ours(folder: Path, scratch: Path) -> float:
    """The p50 of Evaluate, in milliseconds."""
    from olive_like.artifacts import OnnxModel
    from olive_like.metrics.config import Evaluator
    from olive_like.passes.base import Context
    from olive_like.passes.measure.evaluate import Evaluate

    settings = {"warmup_num": 20, "repeat_test_num": _CALLS, "batch_size": _BATCH}
    metric = {"name": "l", "type": "latency", "sub_types": [{"name": "p50", "metric_config": settings}]}
    config = Evaluate.Config(evaluator=Evaluator.model_validate({"metrics": [metric]}))
    output = Path(tempfile.mkdtemp(dir=scratch))
    model = OnnxModel(folder, {"file": "model.onnx"})
    Evaluate().apply([model], config, Context(output, scratch, threads=1))
    return float(json.loads((output / "metrics.json").read_text())["l-p50"]["value"])


def theirs(folder: Path) -> float:
    """The median of a plain loop."""
    import numpy as np
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
    feeds = {"x": np.random.default_rng(0).standard_normal((_BATCH, _WIDTH)).astype(np.float32)}
    for _ in range(20):
        session.run(None, feeds)
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        folder.mkdir()
        make_model(folder / "model.onnx")
        pairs = [(ours(folder, Path(place)), theirs(folder)) for _ in range(rounds)]
    mine, other = (statistics.median(values) for values in zip(*pairs, strict=True))
    apart = 100 * (mine - other) / other
    for one, two in pairs:
        print(f"ours {one:.3f} ms   onnxruntime's own loop {two:.3f} ms")
    print(f"median: {mine:.3f} ms and {other:.3f} ms, {apart:+.1f} % apart (at most 5 %)")
    return 0 if abs(apart) <= 5 else 1


if __name__ == "__main__":
    sys.exit(main())
