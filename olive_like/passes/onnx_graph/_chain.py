"""Models that run one after the other, values handed on by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import EXACT
from olive_like.passes._onnx_runtime import (
    Arrays,
    Shape,
    describe_graph,
    known_axes,
    make_feeds,
    open_session,
    run_session,
    vocabulary_of,
)
from olive_like.passes._verify import Comparison, compare_outputs, judge
from olive_like.passes.base import Context


def run_chain(paths: list[Path], feeds: Arrays, context: Context) -> Arrays:
    """All values that the models give, run in order."""
    known = dict(feeds)
    for path in paths:
        known |= run_session(open_session(path, threads=context.threads, device=context.device), known)
    return known


def verify_chains(
    model: OnnxModel, before: list[Path], after: list[Path], config: Any, context: Context
) -> dict[str, Any] | None:
    """Whether two chains of models give the same."""
    if config.verify == "off":
        return None
    inputs: dict[str, dict[str, Any]] = {}
    made: set[str] = set()
    for path in before:
        io = describe_graph(path)
        inputs |= {v["name"]: v for v in io["inputs"] if v["name"] not in made and v["name"] not in inputs}
        made |= {v["name"] for v in io["outputs"]}
    result = Comparison()
    for seed, batch in enumerate((1, 2)):
        feeds = make_feeds(
            {"inputs": list(inputs.values())}, Shape(batch, 6, 0, known_axes(model)), seed, vocabulary_of(model)
        )
        compare_outputs(run_chain(before, feeds, context), run_chain(after, feeds, context), result)
    return judge(result, config.verify, config.verify_tolerance or EXACT, context)
