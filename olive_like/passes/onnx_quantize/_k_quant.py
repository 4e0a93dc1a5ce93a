"""A search per block for the scale and offset with the least weighted error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._k_quant import search
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Site, Spec, rounder
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks
from olive_like.passes.onnx_quantize._rounding import on_grids
from olive_like.passes.onnx_quantize._select import matching, name_nodes

_KEYS = {"bits", "block_size"}


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """MatMul, Gemm and, if wanted, embeddings; some by settings of their own."""
    spec = Spec(config.bits, config.block_size, symmetric=False)
    own = _own_specs(model, config.customized_weight_config or {}, spec)

    def choose(site: Site) -> Spec:
        return own.get(str(site.node.name).removesuffix("_MatMul"), own.get(str(site.node.name), spec))

    request = Request(
        spec=choose,
        rounder=rounder(on_grids(search)),
        precision=f"int{config.bits}",
        bits=config.bits,
        method="k-quant",
        accuracy_level=config.accuracy_level,
        embeddings=config.embeddings,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size, "own_settings": len(own)},
    )
    return quantize_blocks(model, config, context, request)


def _own_specs(model: OnnxModel, given: dict[str, dict[str, Any]], spec: Spec) -> dict[str, Spec]:
    """Specifications of single nodes, each checked."""
    if not given:
        return {}
    graphs = [load_ir(path) for path in components(model).values()]
    for graph in graphs:
        name_nodes(graph)
    result = {}
    for pattern, settings in given.items():
        bits, block = settings.get("bits", spec.bits), settings.get("block_size", spec.block)
        if set(settings) - _KEYS or bits not in (4, 8) or block not in (16, 32, 64, 128, 256):
            raise PassError(
                f"customized_weight_config of {pattern!r} is {settings}",
                "It may have `bits` (4 or 8) and `block_size` (16, 32, 64, 128 or 256).",
            )
        for name in matching(graphs, [pattern], "customized_weight_config"):
            result[name] = replace(spec, bits=bits, block=block)
    return result
