"""Passes: prepare."""

PASSES: dict[str, str] = {}
