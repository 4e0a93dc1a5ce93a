"""Surgeons that write some operators as others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class GemmToMatMulAdd(SurgeonSettings):
    """Write Gemm as MatMul and Add, the weight transposed here where it has to be."""

    surgeon: Literal["GemmToMatMulAdd"]


class MatMulAddToGemm(SurgeonSettings):
    """Write MatMul and Add as Gemm, with Reshapes around it where the input has more than two axes."""

    surgeon: Literal["MatMulAddToGemm"]


class MatMulToTransposeMatMul(SurgeonSettings):
    """Store the weights of MatMul transposed, with a Transpose before each."""

    surgeon: Literal["MatMulToTransposeMatMul"]


class ReciprocalMulToDiv(SurgeonSettings):
    """Write Reciprocal and Mul as Div."""

    surgeon: Literal["ReciprocalMulToDiv"]


class ReplaceErfWithTanh(SurgeonSettings):
    """Write Erf as Tanh, its close approximation."""

    surgeon: Literal["ReplaceErfWithTanh"]


class RMSNormToL2Norm(SurgeonSettings):
    """Write a spelled-out RMS normalisation as LpNormalization and Mul."""

    surgeon: Literal["RMSNormToL2Norm"]


class SimplifiedLayerNormToL2Norm(SurgeonSettings):
    """Write RMSNormalization and its relatives as LpNormalization and Mul."""

    surgeon: Literal["SimplifiedLayerNormToL2Norm"]
    op_types: list[str] | None = Field(None, description="Only these of the normalisations; by default all.")


class PowReduceSumPowDiv2LpNorm(SurgeonSettings):
    """Write x / sqrt(sum(x^2)), spelled out, as LpNormalization."""

    surgeon: Literal["PowReduceSumPowDiv2LpNorm"]


class ReplaceAttentionMaskValue(SurgeonSettings):
    """Replace the huge negative constants of attention masks by a number that quantises well."""

    surgeon: Literal["ReplaceAttentionMaskValue"]
    threshold: float = Field(-3e30, description="Constants at or below this are replaced.")
    replacement: float = Field(-10000.0, description="What to put in their place.")


class RemoveMemcpy(SurgeonSettings):
    """Remove MemcpyToHost and MemcpyFromHost."""

    surgeon: Literal["RemoveMemcpy"]


class RemoveGidxFromMatMulNBits(SurgeonSettings):
    """Remove the group index from MatMulNBits where it says what is so anyway."""

    surgeon: Literal["RemoveGidxFromMatMulNBits"]


class RemoveQDQ(SurgeonSettings):
    """Remove pairs of QuantizeLinear and DequantizeLinear on activations."""

    surgeon: Literal["RemoveQDQ"]
    keep_clip_after_inputs: bool = Field(False, description="Put a Clip with the pair's range after graph inputs.")


class DecomposeQuickGelu(SurgeonSettings):
    """Write QuickGelu as Mul, Sigmoid and Mul."""

    surgeon: Literal["DecomposeQuickGelu"]
