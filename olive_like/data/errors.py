"""What is wrong with data, in words that name the place."""

from __future__ import annotations

from olive_like.errors import PassError


class DataError(PassError):
    """Rows that cannot be read or cannot become examples."""


def missing_column(wanted: str, there: list[str], why: str = "") -> DataError:
    """The error for a column that is not there; it lists those that are."""
    return DataError(
        f"there is no column {wanted!r}{f' ({why})' if why else ''}; the columns are: {', '.join(there) or 'none'}",
        "Say which column is meant with `columns: {meaning: column}`, or correct the name.",
    )
