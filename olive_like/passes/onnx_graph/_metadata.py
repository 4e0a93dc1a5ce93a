"""Metadata in the model's header."""

from __future__ import annotations

import json
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import prove_header, rewrite
from olive_like.passes.base import Context

_FROM_ATTRIBUTES = ("precision", "task", "model_type", "verified", "fusions")


def add(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Name the graph and write the entries."""

    def change(graph: ir.Model) -> int:
        graph.graph.name = config.graph_name
        entries = {key: str(value) for key, value in config.custom_metadata.items()}
        if config.add_optimization_info:
            entries |= _history(model)
        graph.metadata_props.update(entries)
        return 1 + len(entries)

    return rewrite(model, config, context, change, **prove_header())


def _history(model: OnnxModel) -> dict[str, str]:
    known = {key: model.attributes[key] for key in _FROM_ATTRIBUTES if model.attributes.get(key) is not None}
    entries = {
        f"olive_like.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in known.items()
    }
    if model.digest:
        entries["olive_like.input_digest"] = model.digest
    return entries
