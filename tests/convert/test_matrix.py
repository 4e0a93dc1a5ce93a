"""Every architecture: logits within 1e-4, and greedy tokens equal."""

from pathlib import Path

import pytest

from tests.convert.matrix import DECODERS, ENCODERS, NEW_TOKENS, PAIRS, measure, tiny

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS, *PAIRS])
def test_the_graph_is_the_model(tmp_path: Path, name: str) -> None:
    row = measure(name, tiny(name, tmp_path / "in"), tmp_path / "out")
    assert row.difference < 1e-4
    assert row.tokens in ("-", f"{NEW_TOKENS} of {NEW_TOKENS}")
