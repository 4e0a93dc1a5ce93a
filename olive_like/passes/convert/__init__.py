"""Passes: convert."""

PASSES: dict[str, str] = {}
