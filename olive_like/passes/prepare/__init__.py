"""Passes that prepare data for other passes."""

PASSES: dict[str, str] = {"TokenizedText": "olive_like.passes.prepare.tokenize:TokenizedText"}
