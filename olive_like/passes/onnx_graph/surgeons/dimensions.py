"""Surgeons on axes and shapes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class RenameInputDims(SurgeonSettings):
    """Name an axis of an input, or fix its length."""

    surgeon: Literal["RenameInputDims"]
    input_name: str | None = Field(None, description="The input, by name.")
    input_idx: int | None = Field(None, description="The input, by number.")
    dim_idx: int = Field(description="The axis, from 0.")
    dim_name: str | int = Field(description="Its new name, or length.")


class RenameOutputDims(SurgeonSettings):
    """Name an axis of an output, or fix its length."""

    surgeon: Literal["RenameOutputDims"]
    output_name: str | None = Field(None, description="The output, by name.")
    output_idx: int | None = Field(None, description="The output, by number.")
    dim_idx: int = Field(description="The axis, from 0.")
    dim_name: str | int = Field(description="Its new name, or length.")


class InferShapes(SurgeonSettings):
    """Infer the shapes of all values."""

    surgeon: Literal["InferShapes"]


class RemoveShapes(SurgeonSettings):
    """Drop the shapes of all values inside the graph."""

    surgeon: Literal["RemoveShapes"]
