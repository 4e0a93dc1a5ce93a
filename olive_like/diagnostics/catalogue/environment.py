"""OL4xx: files, models and the environment."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {}
