"""The work of ExtractAdapters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._adapter_files import read_adapter, write_adapter
from olive_like.passes._adapter_graph import take_out
from olive_like.passes._adapter_runtime import run_with
from olive_like.passes._onnx_files import components, copy_side_files, finish, graph_file, load_ir, save_ir
from olive_like.passes._onnx_rewrite import EXACT, target_of
from olive_like.passes._onnx_runtime import (
    SHAPES,
    describe_graph,
    known_axes,
    make_feeds,
    open_session,
    run_session,
    vocabulary_of,
)
from olive_like.passes._verify import Comparison, compare_outputs, judge
from olive_like.passes.base import Context


def extract(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Take the matrices out, write them, and prove that with them the graph is what it was."""
    graphs = components(model)
    if len(graphs) > 1:
        raise PassError(f"the model has several graphs ({', '.join(graphs)})", "An adapter's file serves one graph.")
    path = graph_file(model)
    graph = load_ir(path)
    weights = take_out(
        graph, make_inputs=config.make_inputs, optional=config.optional_inputs, dynamic=config.dynamic_lora_r
    )
    if not weights:
        raise PassError(
            "the graph has no adapter weights of its own",
            "Give it an adapter that was not merged: OnnxConversion with merge_adapter_weights: false before this.",
        )
    save_ir(graph, target_of(model, path, context), config)
    file = write_adapter(weights, context.output / config.adapter_name, config.save_format)
    copy_side_files(model, context.output)
    context.metric("adapter_matrices", len(weights))
    named = {"adapters": {config.adapter_name: file.name}} if config.make_inputs else {}
    result = finish(context, model, {"file": path.name, **named})
    if config.verify == "off" or not config.make_inputs:
        return result
    comparison = _compare(model, result, read_adapter(file), context)
    verified = judge(comparison, config.verify, config.verify_tolerance or EXACT, context)
    return replace(result, attributes={**result.attributes, "verified": verified})


def _compare(before: OnnxModel, after: OnnxModel, weights: dict[str, Any], context: Context) -> Comparison:
    comparison = Comparison()
    old = open_session(graph_file(before), threads=context.threads)
    new = open_session(graph_file(after), threads=context.threads)
    io, known = describe_graph(graph_file(before)), known_axes(before)
    for shape in SHAPES:
        feeds = make_feeds(io, replace(shape, known=known), 0, vocabulary_of(before))
        compare_outputs(run_session(old, feeds), run_with(new, feeds, weights), comparison)
    return comparison
