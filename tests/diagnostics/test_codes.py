"""The catalogue of codes and what uses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import olive_like
from olive_like.diagnostics import Severity
from olive_like.diagnostics.codes import all_codes, find, page, problem
from olive_like.graph.check import diagnose
from olive_like.workflow.read import read

SOURCE = Path(olive_like.__file__).parent
CODES = all_codes()


def used_codes() -> set[str]:
    return {
        code
        for path in SOURCE.rglob("*.py")
        if "catalogue" not in path.parts
        for code in re.findall(r'"(OL\d{3})"', path.read_text(encoding="utf-8"))
    }


def test_every_code_that_is_used_is_explained_and_the_other_way_round():
    assert used_codes() == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_says_what_it_means_and_what_to_do(code):
    entry = CODES[code]
    text = page(code)
    assert text.startswith(f"{code} ({entry.severity.value}): ")
    assert entry.title[0] == entry.title[0].lower() or entry.title.isupper() or entry.title[:4] in ("YAML", "JSON")
    for part in (entry.meaning, entry.remedy):
        assert part.strip()
        assert part.rstrip()[-1] in ".)`!?:"
    assert "What to do: " in text


@pytest.mark.parametrize(
    "code", [code for code, entry in CODES.items() if entry.example and code != "OL014" and code[2] in "01"]
)
def test_the_example_of_a_page_is_one(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = CODES[code].example
    path = tmp_path / ("w.json" if example.startswith("{") else "w.yaml")
    path.write_text(example)
    assert code in [d.code for d in diagnose(read(path))]


def test_codes_are_found_in_any_case():
    assert find("ol101") is CODES["OL101"]
    for other in ("", "OL", "OL9", "OL999", "OLX01", "XX101", "OL1011"):
        assert find(other) is None


def test_a_problem_has_the_severity_of_its_code():
    assert problem("OL101", "x").severity is Severity.ERROR
    with pytest.raises(LookupError, match="OL199"):
        problem("OL199", "x")
