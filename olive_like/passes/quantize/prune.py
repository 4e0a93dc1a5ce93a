"""Passes that take weights away instead of rounding them."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Pass, PassConfig
from olive_like.passes.fields import DataRef


class SparseGPT(Pass):
    """Set weights to zero and let the rest make up for it (declared for Olive's files; cannot run yet)."""

    accepts = HfModel
    produces = HfModel
    data_pass = "TokenizedText"

    class Config(PassConfig):
        sparsity: float | list[int] | None = Field(None, description="Share of zeros, or [n, m] zeros in a row.")
        blocksize: int = Field(128, ge=1, description="Columns that are treated at a time.")
        percdamp: float = Field(0.01, gt=0, description="Share of the mean curvature added to it.")
        min_layer: int | None = Field(None, description="First block to prune.")
        max_layer: int | None = Field(None, description="Block to stop before.")
        layer_name_filter: str | list[str] | None = Field(None, description="Parts of names of layers to prune.")
        device: str = Field("auto", description="Accepted for Olive's files; the system decides.")
        data_config: DataRef = Field(..., description="Calibration data.")


class SliceGPT(Pass):
    """Cut the residual stream down to its main directions (declared for Olive's files; cannot run yet)."""

    accepts = HfModel
    produces = HfModel
    data_pass = "TokenizedText"

    class Config(PassConfig):
        calibration_data_config: DataRef = Field(..., description="Calibration data.")
        calibration_nsamples: int = Field(128, ge=1, description="Sequences to calibrate on.")
        calibration_batch_size: int = Field(16, ge=1, description="Sequences at a time.")
        seed: int = Field(42, description="Seed of the choice of sequences.")
        sparsity: float = Field(0.0, ge=0, lt=1, description="Share of the directions to cut.")
        round_interval: int = Field(8, ge=1, description="The width that is left is a multiple of this.")
        final_orientation: str = Field("random", description="Orientation of the last block: pca or random.")
