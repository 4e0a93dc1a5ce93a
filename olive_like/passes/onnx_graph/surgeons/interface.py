"""Surgeons on a graph's inputs and outputs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class RenameInputs(SurgeonSettings):
    """Give inputs other names."""

    surgeon: Literal["RenameInputs"]
    old_names: list[str] = Field(description="Present names.")
    new_names: list[str] = Field(description="New names, in the same order.")


class RenameOutputs(SurgeonSettings):
    """Give outputs other names."""

    surgeon: Literal["RenameOutputs"]
    old_names: list[str] = Field(description="Present names.")
    new_names: list[str] = Field(description="New names, in the same order.")


class ReorderInputs(SurgeonSettings):
    """Put the inputs into another order."""

    surgeon: Literal["ReorderInputs"]
    permutation: list[int] = Field(description="Present position of each input, in the new order.")


class RemoveInputs(SurgeonSettings):
    """Remove inputs, and the nodes' uses of them where they are optional."""

    surgeon: Literal["RemoveInputs"]
    names: list[str] = Field(description="Inputs to remove.")


class RemoveInitializerFromInputs(SurgeonSettings):
    """Drop weights from the list of inputs, where old exporters put them."""

    surgeon: Literal["RemoveInitializerFromInputs"]


class ExposeOutputs(SurgeonSettings):
    """Make the outputs of some nodes outputs of the graph."""

    surgeon: Literal["ExposeOutputs"]
    names: list[str] = Field(description="Names of the nodes.")


class AddIntermediateTensorsToOutputs(SurgeonSettings):
    """Make some values, or all, outputs of the graph."""

    surgeon: Literal["AddIntermediateTensorsToOutputs"]
    intermediate_tensor_to_add: list[str] | None = Field(None, description="Names of the values; by default all.")


class ExposeQuantizedOutput(SurgeonSettings):
    """Give out an output as integers, with its scale and zero point as further outputs."""

    surgeon: Literal["ExposeQuantizedOutput"]
    output_name: str = Field(description="The output, which a DequantizeLinear makes.")


class ZeroOutInput(SurgeonSettings):
    """Replace an input of a node by zeros."""

    surgeon: Literal["ZeroOutInput"]
    node_name: str = Field(description="The node.")
    input_idx: int = Field(description="Number of its input, from 0.")
