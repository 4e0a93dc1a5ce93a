"""Passes: finetune."""

PASSES: dict[str, str] = {}
