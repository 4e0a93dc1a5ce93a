"""Round to nearest, block by block."""

from __future__ import annotations

from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Spec, nearest
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """MatMul, Gemm and, if wanted, embeddings."""
    spec = Spec(config.bits, config.block_size, config.is_symmetric)
    request = Request(
        # An embedding's rows are read by a kernel that knows 4 and 8 bits.
        spec=lambda site: None if site.is_gather and config.bits == 2 else spec,
        rounder=nearest,
        precision=f"int{config.bits}",
        bits=config.bits,
        method="rtn",
        accuracy_level=config.accuracy_level,
        embeddings=config.embeddings,
        include=config.nodes_to_include,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size, "symmetric": config.is_symmetric},
    )
    return quantize_blocks(model, config, context, request)


def quantize_embeddings(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Embedding tables only."""
    spec = Spec(config.bits, config.block_size, config.is_symmetric)
    request = Request(
        spec=lambda _: spec,
        rounder=nearest,
        precision=f"embeddings int{config.bits}",
        bits=config.bits,
        method="rtn",
        embeddings=True,
        matmuls=False,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size, "symmetric": config.is_symmetric},
    )
    return quantize_blocks(model, config, context, request)
