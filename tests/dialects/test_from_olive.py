"""The page for people who come from Olive."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from olive_like.passes import registry
from olive_like.workflow.dialects import toplevel, unavailable

SCRIPT = Path(__file__).parents[2] / "docs" / "from_olive.py"


@pytest.fixture(scope="module")
def page() -> str:
    return runpy.run_path(str(SCRIPT), run_name="from_olive")["page"]()


def test_every_pass_and_setting_has_a_row(page: str) -> None:
    names = [*unavailable.NAMES, *toplevel.NO_EFFECT, *toplevel.NOT_AVAILABLE]
    missing = [name for name in names if name != "AitkPython" and f"| `{name}` |" not in page]
    assert not missing


def test_what_a_pass_is_said_to_be_is_what_it_is(page: str) -> None:
    rows = {line.split(" | ")[0].strip("|` "): line for line in page.splitlines() if line.startswith("| `")}
    assert "| yes |" in rows["Gptq"]
    assert "| no | OnnxConversion does something near." in rows["OpenVINOConversion"]
    for name in set(unavailable.NAMES) & set(registry.names()):
        assert ("| declared |" in rows[name]) == (not registry.load(name).available())


def test_the_committed_page_is_there() -> None:
    assert SCRIPT.with_name("from-olive.md").read_text("utf-8").startswith("# Coming from Olive")
