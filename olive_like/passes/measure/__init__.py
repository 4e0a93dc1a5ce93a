"""Passes: measure."""

PASSES: dict[str, str] = {}
