"""What an ONNX model consists of, from its header alone."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import onnx

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import components, load_proto

_BITS = {"FLOAT": 32, "FLOAT16": 16, "BFLOAT16": 16, "DOUBLE": 64, "INT64": 64, "INT32": 32, "UINT32": 32, "UINT64": 64,
         "INT16": 16, "UINT16": 16, "INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2}  # fmt: skip


def statistics(model: OnnxModel) -> dict[str, Any]:
    """How often each operator occurs, and how many bytes the weights of each type take."""
    ops: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path in components(model).values():
        graph = load_proto(path).graph
        ops.update(node.op_type for node in graph.node)
        for tensor in graph.initializer:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            sizes[kind.lower()] += prod(tensor.dims) * _BITS.get(kind, 8) // 8
    return {"ops": dict(ops.most_common(40)), "dtypes": dict(sizes.most_common())}
