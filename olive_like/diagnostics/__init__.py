"""Problems as data: a code, a place, the words, and what to do."""

from olive_like.diagnostics.model import Diagnostic, Severity

__all__ = ["Diagnostic", "Severity"]
