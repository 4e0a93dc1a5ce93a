"""Passes: onnx_graph."""

PASSES: dict[str, str] = {}
