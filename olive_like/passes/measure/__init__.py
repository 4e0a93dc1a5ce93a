"""Passes that measure a model."""

PASSES: dict[str, str] = {"Evaluate": "olive_like.passes.measure.evaluate:Evaluate"}
