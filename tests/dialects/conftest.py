"""Fixtures of the tests of dialects."""

from __future__ import annotations

import pytest

from tests.dialects.reading import Read, read_text


@pytest.fixture
def read() -> Read:
    """Text of a workflow -> what it is translated to, and what was said."""
    return read_text
