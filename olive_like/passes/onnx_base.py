"""Settings that every pass whose result is an ONNX file has in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.base import PassConfig


class OnnxFileConfig(PassConfig):
    """Where the weights of a written ONNX model go."""

    save_as_external_data: bool | None = Field(
        None,
        description="Weights in a file beside the graph. Unset: as the input has them, and always beside the graph "
        "where they would not fit into its 2 GB.",
    )
    all_tensors_to_one_file: bool = Field(True, description="One data file for all weights instead of one for each.")
    external_data_name: str | None = Field(
        None,
        pattern=r"^[^/\\]+$",
        description="Name of the data file, in the model's folder. Unset: the graph's name with `.data` added.",
    )
    size_threshold: int = Field(
        1024,
        ge=0,
        description="Weights of at most so many bytes stay inside the graph; below 128 they always do, because "
        "runtimes read shapes from there.",
    )
    convert_attribute: bool = Field(False, description="Move tensors that are nodes' attributes to the data file too.")


class OnnxPassConfig(OnnxFileConfig):
    """The settings of a pass that writes ONNX and proves that the model still does the same."""

    verify: Literal["off", "warn", "fail"] = Field(
        "warn",
        description="Compare outputs before and after on generated inputs, and what to do where they differ by more "
        "than the pass allows: nothing at all, say so, or fail.",
    )
    verify_tolerance: float | None = Field(
        None, gt=0, description="Largest absolute difference of an output that passes. Unset: what suits the pass."
    )
