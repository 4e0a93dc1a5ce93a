"""OL3xx: what is not available here, and dialects."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {}
