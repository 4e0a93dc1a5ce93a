"""Passes: quantize."""

PASSES: dict[str, str] = {}
