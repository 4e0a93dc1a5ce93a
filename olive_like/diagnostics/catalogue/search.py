"""OL5xx: search and evaluators."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {}
