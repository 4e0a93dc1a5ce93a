"""Passes: onnx_quantize."""

PASSES: dict[str, str] = {}
