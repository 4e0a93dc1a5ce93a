"""float32 to float16 by onnxruntime's converter."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, fits_no_file, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, prove, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._select import matching, name_nodes

TOLERANCE = 2e-2


def convert(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The whole model, but what is blocked."""
    for path in components(model).values():
        proto = _loaded(path, context, config.use_symbolic_shape_infer)
        _need_floats(proto, path)
        nodes = list(proto.graph.node)
        ops = set(config.op_block_list if config.op_block_list is not None else DEFAULT_OP_BLOCK_LIST)
        if config.op_include_list:
            ops |= {node.op_type for node in nodes} - set(config.op_include_list)
        graph = ir.from_proto(proto)
        blocked = matching([graph], config.node_block_list, "node_block_list")
        included = matching([graph], config.node_include_list, "node_include_list")
        if included:
            blocked |= {node.name for node in nodes} - included
        done = _half(proto, config.keep_io_types, ops, blocked, config, context)
        _deliver(done, model, path, config, context)
    return prove(model, config, context, TOLERANCE, attributes={"precision": "float16"})


def convert_mixed(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The whole model but some operators, and the last layer where float16 would lose too much of its weights."""
    for path in components(model).values():
        proto = _loaded(path, context, infer=True)
        _need_floats(proto, path)
        blocked = _last_layer(proto, config.atol)
        if blocked:
            context.note(
                f"the last layer ({', '.join(sorted(blocked))}) stays float32: float16 cannot hold its weights"
            )
        keep = [value.name for value in proto.graph.output if "logits" in value.name] if blocked else False
        done = _half(proto, keep or False, set(config.op_block_list), blocked, None, context)
        _deliver(done, model, path, config, context)
    return prove(model, config, context, TOLERANCE, attributes={"precision": "float16 mixed"})


def _loaded(path: Path, context: Context, infer: bool) -> onnx.ModelProto:
    """The checked model with its weights and a name for every node, and where it is asked for with types."""
    graph = load_ir(path)
    name_nodes(graph)
    work = context.scratch / path.stem / path.name
    save_ir(graph, work)
    if infer:  # in the file: a model in memory is handed over in one piece, which 2 GB limit
        onnx.shape_inference.infer_shapes_path(str(work))
    return onnx.load(work)


def _need_floats(proto: onnx.ModelProto, path: Path) -> None:
    if not any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in proto.graph.initializer):
        kinds = sorted({onnx.TensorProto.DataType.Name(t.data_type).lower() for t in proto.graph.initializer})
        raise PassError(
            f"{path.name} has no float32 weights to convert, only {', '.join(kinds) or 'none at all'}",
            "Take the pass out, or let it start from the float32 model.",
        )


def _half(
    proto: onnx.ModelProto,
    keep_io: bool | list[str],
    ops: Collection[str],
    nodes: Iterable[str],
    config: Any,
    context: Context,
) -> onnx.ModelProto:
    limits = {}
    if config is not None:
        limits = {"min_positive_val": config.min_positive_val, "max_finite_val": config.max_finite_val}
        cut = _beyond(proto, config.max_finite_val)
        if cut:
            context.warn(f"{cut} weights reach beyond {config.max_finite_val:g} and are cut to it: see max_finite_val")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for every weight that is rounded up to the least positive value
        done = convert_float_to_float16(
            proto,
            keep_io_types=keep_io,
            disable_shape_infer=True,
            op_block_list=sorted(ops),
            node_block_list=sorted(nodes),
            **limits,
        )
    _drop_repeated_casts(done.graph)
    return done


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """A weight that several blocked nodes share gets the same Cast once for each of them."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)


def _beyond(proto: onnx.ModelProto, largest: float) -> int:
    """How many weights have a finite value that will be cut; constants of masks are meant to be huge."""
    found = 0
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > 1:
            found += bool((np.abs(numpy_helper.to_array(tensor)) > largest).any())
    return found


def _last_layer(proto: onnx.ModelProto, atol: float) -> set[str]:
    """The node that makes the logits, if its weight does not fit into float16."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    output = next((v.name for v in proto.graph.output if "logits" in v.name), proto.graph.output[0].name)
    node = makers.get(output)
    while node is not None and node.op_type not in ("MatMul", "Gemm"):
        node = next((makers[name] for name in node.input if name in makers), None)
    if node is None or len(node.input) < 2 or node.input[1] not in weights:
        return set()
    weight = numpy_helper.to_array(weights[node.input[1]])
    if weight.dtype != np.float32:
        return set()
    lost = np.abs(weight.astype(np.float16).astype(np.float32) - weight).max(initial=0.0)
    return {node.name} if lost > atol else set()


def _deliver(proto: onnx.ModelProto, model: OnnxModel, path: Path, config: Any, context: Context) -> None:
    written = context.scratch / f"{path.stem}.half.onnx"
    large = fits_no_file(proto)
    onnx.save_model(proto, written, save_as_external_data=large, location=f"{written.name}.data")
    graph = load_ir(written)
    graph.graph.sort()  # the converter puts casts behind the nodes that read them
    save_ir(graph, target_of(model, path, context), like_input(config, path))
