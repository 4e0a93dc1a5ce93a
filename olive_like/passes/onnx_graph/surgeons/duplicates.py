"""Surgeons that find the same thing twice."""

from __future__ import annotations

from typing import Literal

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class DeduplicateNodes(SurgeonSettings):
    """Merge nodes that compute the same from the same."""

    surgeon: Literal["DeduplicateNodes"]


class DeduplicateSubgraphInitializers(SurgeonSettings):
    """Merge equal weights, those in the branches of If and the bodies of Loop included."""

    surgeon: Literal["DeduplicateSubgraphInitializers"]
