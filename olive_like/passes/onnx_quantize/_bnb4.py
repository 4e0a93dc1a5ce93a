"""nf4 and fp4 in the form of onnxruntime's MatMulBnb4."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxruntime.capi._pybind_state import quantize_matmul_bnb4

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.onnx_quantize._finish import complete
from olive_like.passes.onnx_quantize._report import WeightError, weight_error
from olive_like.passes.onnx_quantize._select import (
    all_nodes,
    follow_renames,
    matching,
    name_nodes,
    nothing_to_do,
    read_float,
    weight_of,
)
from olive_like.passes.onnx_quantize._weights import Spool

_KIND = {"fp4": 0, "nf4": 1}
# The values that the sixteen codes stand for, by bitsandbytes' definition.
NF4 = np.array(
    [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0], np.float32,
)  # fmt: skip
_FP4_HALF = [0.0, 0.0052083333, 0.6666667, 1.0, 0.33333334, 0.5, 0.16666667, 0.25]
FP4 = np.array(_FP4_HALF + [-value for value in _FP4_HALF], np.float32)


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All constant weights of MatMul and Gemm that are chosen."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for graph in graphs.values():
        name_nodes(graph)
    exclude = matching(graphs.values(), config.nodes_to_exclude, "nodes_to_exclude")
    precision = config.precision or _trained_with(model)
    errors: list[WeightError] = []
    for path, graph in graphs.items():
        gemm_to_matmul_add(graph)
        exclude = follow_renames(graph, exclude)
        with Spool(context.scratch / f"{path.stem}.bnb4") as spool:
            done: dict[int, list[ir.Value]] = {}
            for node in list(all_nodes(graph)):
                weight = weight_of(node) if _graph.is_op(node, "MatMul") and _chosen(node, exclude, config) else None
                if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
                    continue
                if id(weight) not in done:
                    done[id(weight)], error = _codes(weight, spool, precision, config.block_size)
                    errors.append(error)
                inner, outer = (int(dim) for dim in weight.const_value.shape)
                sizes = {"K": inner, "N": outer, "block_size": config.block_size, "quant_type": _KIND[precision]}
                inputs = [node.inputs[0], *done[id(weight)]]
                new = ir.node("MatMulBnb4", inputs, sizes, domain=_graph.CONTRIB, name=f"{node.name}_Bnb4")
                _graph.replace([node], [new])
        _graph.drop_unused_weights(graph)
        _graph.need_opset(graph, _graph.CONTRIB, 1)
        save_ir(graph, target_of(model, path, context), like_input(config, path))
    if not errors:
        raise nothing_to_do(graphs.values(), ["MatMul", "Gemm"])
    return complete(model, config, context, errors, precision, 4, method="bnb4", block_size=config.block_size)


def _chosen(node: ir.Node, exclude: set[str], config: Any) -> bool:
    name = str(node.name)
    wanted = config.quantized_modules is None or any(
        part in name or part.replace(".", "/") in name for part in config.quantized_modules
    )
    return wanted and name not in exclude


def _trained_with(model: OnnxModel) -> str:
    """The type of a QLoRA fine-tune that stands in the model's config, or nf4."""
    file = model.path / "config.json"
    settings = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    kind = (settings.get("quantization_config") or {}).get("bnb_4bit_quant_type")
    return kind if kind in _KIND else "nf4"


def _codes(weight: ir.Value, spool: Spool, precision: str, block: int) -> tuple[list[ir.Value], WeightError]:
    matrix = read_float(weight)
    inner, outer = matrix.shape
    count = -(-inner * outer // block)
    codes = np.zeros((inner * outer + 1) // 2, np.uint8)
    scales = np.zeros(count, np.float32)
    flat = np.ascontiguousarray(matrix.T)  # blocks run along the inputs of each output
    quantize_matmul_bnb4(codes, flat, scales, block, _KIND[precision], outer, inner)
    restored = _restored(codes, scales, block, NF4 if precision == "nf4" else FP4, inner * outer)
    error = weight_error(str(weight.name), flat, restored, codes.nbytes + scales.nbytes)
    assert weight.const_value is not None
    dtype = weight.const_value.dtype
    values = [
        spool.put(f"{weight.name}_Bnb4", codes),
        spool.put(f"{weight.name}_absmax", scales.astype(dtype.numpy()), dtype),
    ]
    for value in values:
        assert weight.graph is not None
        weight.graph.register_initializer(value)
    return values, error


def _restored(codes: np.ndarray, scales: np.ndarray, block: int, table: np.ndarray, count: int) -> np.ndarray:
    """The transposed weight as the runtime sees it; the first of two codes lies in the high bits."""
    both = np.stack([codes >> 4, codes & 15], axis=-1).reshape(-1)[:count]
    return table[both] * np.repeat(scales, block)[:count]
