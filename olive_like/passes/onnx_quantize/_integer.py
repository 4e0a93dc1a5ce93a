"""8-bit quantisation by onnxruntime's quantisers, with weights and activations."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.registry import IntegerOpsRegistry

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, target_of
from olive_like.passes._quiet import errors_only
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons._gemm import fold_transposed_weights, gemm_to_matmul_add
from olive_like.passes.onnx_quantize._finish import complete
from olive_like.passes.onnx_quantize._report import WeightError, weight_error
from olive_like.passes.onnx_quantize._select import (
    all_nodes,
    finite,
    follow_renames,
    matching,
    name_nodes,
    names,
    nothing_to_do,
    readers_of_defaults,
    weight_of,
)
from olive_like.passes.onnx_quantize.settings import IntegerConfig

_WEIGHT_TYPES = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
_FLOAT = 1  # as ONNX numbers types
INLINE_FOR_PROTOBUF = 1_500_000_000


def quantize_dynamically(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Weights to 8 bits now, activations at run time."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for graph in graphs.values():
        name_nodes(graph)
    ops = allowed_ops(config, list(IntegerOpsRegistry))
    ops = _without_signed_conv(ops, config, graphs, context)
    include, exclude = filters(config, graphs)
    errors: list[WeightError] = []
    for path, graph in graphs.items():
        if config.quant_preprocess:
            gemm_to_matmul_add(graph)
            fold_transposed_weights(graph)
            include, exclude = follow_renames(graph, include), follow_renames(graph, exclude)
        check_weights(graph, ops)
        work = scratch_file(context, path)
        save_ir(graph, work)
        with quiet():
            quantize_dynamic(
                work,
                work.with_suffix(".quantized.onnx"),
                op_types_to_quantize=ops,
                per_channel=config.per_channel,
                reduce_range=config.reduce_range,
                weight_type=_WEIGHT_TYPES[config.precision],
                nodes_to_quantize=sorted(include & names(graph)),
                nodes_to_exclude=sorted(exclude & names(graph)),
                use_external_data_format=is_large(graph),
                extra_options=options(config),
            )
        errors += _deliver(work, graph, target_of(model, path, context), like_input(config, path))
    if not errors:
        raise nothing_to_do(graphs.values(), ops)
    return complete(model, config, context, errors, config.precision, 8, method="dynamic")


def _deliver(work: Path, before: ir.Model, target: Path, config: IntegerConfig) -> list[WeightError]:
    """Write the quantised graph to its place; the errors of its weights."""
    after = load_ir(work.with_suffix(".quantized.onnx"))
    errors = integer_errors(before, after)
    save_ir(after, target, config)
    return errors


def allowed_ops(config: IntegerConfig, supported: list[str]) -> list[str]:
    """Op types to quantise, of those that there is a kernel for."""
    for setting in ("op_types_to_quantize",):
        unknown = sorted(set(getattr(config, setting) or ()) - set(supported))
        if unknown:
            raise PassError(
                f"{setting} has {', '.join(unknown)}, which onnxruntime cannot quantise this way",
                f"It can: {', '.join(sorted(supported))}.",
            )
    excluded = set(config.op_types_to_exclude or ())
    return [op for op in config.op_types_to_quantize or supported if op not in excluded]


def _without_signed_conv(
    ops: list[str], config: IntegerConfig, graphs: dict[Path, ir.Model], context: Context
) -> list[str]:
    """onnxruntime's integer convolution has no kernel for signed weights."""
    has_conv = any(node.op_type == "Conv" for graph in graphs.values() for node in all_nodes(graph))
    if getattr(config, "precision", "") != "int8" or "Conv" not in ops or not has_conv:
        return ops
    if config.op_types_to_quantize:
        raise PassError("onnxruntime has no convolution with int8 weights", "Set `precision: uint8`.")
    context.note("convolutions stay unquantised: onnxruntime has none with int8 weights (uint8 would work)")
    return [op for op in ops if op != "Conv"]


def filters(config: IntegerConfig, graphs: dict[Path, ir.Model]) -> tuple[set[str], set[str]]:
    """Names of the nodes to quantise (empty: all) and of those to leave."""
    include = matching(graphs.values(), config.nodes_to_quantize, "nodes_to_quantize")
    exclude = matching(graphs.values(), config.nodes_to_exclude, "nodes_to_exclude")
    return include, exclude.union(*map(readers_of_defaults, graphs.values()))


def check_weights(graph: ir.Model, ops: list[str]) -> None:
    """Refuse weights that hold NaN or infinity."""
    seen: set[int] = set()
    for node in all_nodes(graph):
        for index in range(len(node.inputs)) if node.op_type in ops else ():
            weight = weight_of(node, index)
            if weight is not None and weight.const_value is not None and id(weight) not in seen:
                seen.add(id(weight))
                finite(weight, weight.const_value.numpy())


def scratch_file(context: Context, path: Path) -> Path:
    work = context.scratch / path.stem / path.name
    work.parent.mkdir(parents=True, exist_ok=True)
    return work


def is_large(graph: ir.Model) -> bool:
    """Whether the weights are too many for one protobuf file."""
    values = (value for part in graph.graphs() for value in part.initializers.values())
    return sum(v.const_value.nbytes for v in values if v.const_value is not None) > INLINE_FOR_PROTOBUF


def options(config: IntegerConfig) -> dict[str, Any]:
    """Settings that onnxruntime calls extra options."""
    # Behind onnxruntime's own operators types are not inferred; the weights say what they must be.
    chosen: dict[str, Any] = {"ActivationSymmetric": config.activation_symmetric, "DefaultTensorType": _FLOAT}
    if config.weight_symmetric is not None:
        chosen["WeightSymmetric"] = config.weight_symmetric
    return chosen | (config.extra_options or {})


def integer_errors(before: ir.Model, after: ir.Model) -> list[WeightError]:
    """The error of every weight that has an integer form afterwards, found by onnxruntime's naming."""
    old = {name: value for graph in before.graphs() for name, value in graph.initializers.items()}
    new = {name: value for graph in after.graphs() for name, value in graph.initializers.items()}
    errors = []
    for name, value in old.items():
        parts = [new.get(f"{name}_{part}") for part in ("quantized", "scale", "zero_point")]
        if parts[0] is None or parts[1] is None or value.const_value is None or len(value.const_value.shape) < 2:
            continue  # a bias, or a constant of some formula
        tensors = [part.const_value for part in parts if part is not None and part.const_value is not None]
        weight = value.const_value.numpy().astype(np.float32)
        integers, scale = (np.asarray(tensor.numpy()).astype(np.float32) for tensor in tensors[:2])
        zero = np.asarray(tensors[2].numpy()).astype(np.float32) if len(tensors) > 2 else np.float32(0)
        restored = _dequantize(integers, scale, zero, weight.shape)
        if restored is not None:
            errors.append(weight_error(name, weight, restored, sum(tensor.nbytes for tensor in tensors)))
    return errors


def _dequantize(q: np.ndarray, scale: np.ndarray, zero: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The weight as the runtime sees it; a vector of scales runs along the axis of its length."""
    if q.shape != shape:
        return None
    if scale.size == 1:
        return (q - np.reshape(zero, -1)[0]) * scale.reshape(-1)[0]
    axis = 1 if q.ndim == 2 and scale.size == shape[1] else 0
    if scale.ndim > 1 or scale.size != shape[axis]:
        return None
    form = [1] * q.ndim
    form[axis] = scale.size
    return (q - np.reshape(zero, form)) * scale.reshape(form)


def quiet() -> AbstractContextManager[None]:
    """Keep onnxruntime's advice to run its preprocessing out of the log: the pass has prepared the graph."""
    return errors_only("")
