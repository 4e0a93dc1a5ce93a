"""The exceptions of the public API. All derive from OliveLikeError."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from olive_like.diagnostics import Diagnostic


class OliveLikeError(Exception):
    """Something the user can act on: one line that says what, and a hint that says what to do.

    `exit_code` is what the command line ends with; `diagnostics` is filled where a workflow is at fault.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.diagnostics = tuple(diagnostics)

    def __reduce__(self) -> tuple[type[OliveLikeError], tuple[str, str, tuple[Diagnostic, ...]]]:
        return type(self), (self.message, self.hint, self.diagnostics)


class WorkflowError(OliveLikeError):
    """The workflow or the command line is wrong; `diagnostics` has every problem found."""

    exit_code = 2


class PassError(OliveLikeError):
    """Raised by a pass for a cause that the user can act on; shown without a traceback."""


class PromiseBroken(OliveLikeError):
    """A pass did not keep what its class declares. Addressed to the author of the pass."""


class StoreError(OliveLikeError):
    """The store cannot do its work (no space, no permission, …)."""


class LockDrift(OliveLikeError):
    """A locked run found that its inputs are not what the lock file says."""

    exit_code = 3
