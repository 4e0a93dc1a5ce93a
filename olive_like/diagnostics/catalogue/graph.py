"""OL2xx: the graph."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {}
