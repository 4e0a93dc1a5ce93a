"""Locks: what a locked run refuses, and what is in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olive_like.api import plan, run
from olive_like.errors import LockDrift, WorkflowError
from tests.engine.conftest import Bench

TOKEN = "hf_QqZzSecretOfTheHub"
PASSES: dict[str, Any] = {
    "a": {"type": "Null"},
    "b": {"type": "Null", "bytes": 10, "input": "a"},
    "c": {"type": "Null", "bytes": 20, "input": "a"},
    "d": {"type": "Null", "inputs": ["b", "c"]},
}


@pytest.fixture
def locked(bench: Bench) -> Path:
    """A workflow that ran and was locked."""
    file = bench.file(PASSES)
    assert run(file, lock=True).ok
    return file


def drift_of(file: Path, **options: Any) -> str:
    with pytest.raises(LockDrift) as caught:
        run(file, locked=True, **options)
    return caught.value.message


def test_what_did_not_change_runs_locked(locked: Path) -> None:
    assert run(locked, locked=True).ok


@pytest.mark.parametrize("in_cache", [True, False])
@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("passes.b.bytes=11", "b: the setting bytes changed: 10 → 11"),
        ("passes.d.inputs=[b]", "d: the input inputs[1] changed"),
        ("passes.d.inputs=[b, c, a]", "d: the input inputs[2] changed"),
        ("input_model.value=1", "a: the input inputs[0] changed"),
    ],
)
def test_drift_is_named(bench: Bench, locked: Path, override: str, named: str, in_cache: bool) -> None:
    elsewhere = {} if in_cache else {"cache_dir": bench.root / "other"}
    assert named in drift_of(locked, overrides=[override], **elsewhere)


def test_a_locked_run_makes_anew_what_is_not_in_the_cache(bench: Bench, locked: Path) -> None:
    result = run(locked, locked=True, cache_dir=bench.root / "other")
    assert {item.status for item in result.passes.values()} == {"ran"}


def test_a_part_is_held_against_its_part_of_the_lock(locked: Path) -> None:
    assert run(locked, locked=True, until="b").ok
    assert "b: the setting" in drift_of(locked, until="b", overrides=["passes.b.bytes=11"])


def test_a_part_cannot_be_locked(locked: Path) -> None:
    before = Path(f"{locked}.lock").read_text()
    with pytest.raises(WorkflowError, match="whole workflow"):
        run(locked, lock=True, until="b")
    assert Path(f"{locked}.lock").read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"lock": 1}', '{"lock": 1, "passes": {"a": 1}}', '{"lock": 1, "passes": {"a": {}}}'),
        '{"lock": 1, "passes": {"a": {"key": "", "output": "", "document": 1}}}',
    ],
)
def test_a_damaged_lock_is_an_error(locked: Path, text: str) -> None:
    Path(f"{locked}.lock").write_text(text)
    with pytest.raises(WorkflowError, match="is not a lock file"):
        run(locked, locked=True)


def test_a_lock_has_no_secret_and_still_notices_another_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    file = bench.file({"a": {"type": "Null", "value": TOKEN}})
    assert run(file, lock=True).ok
    assert TOKEN not in Path(f"{file}.lock").read_text()
    assert run(file, locked=True).ok
    monkeypatch.setenv("HF_TOKEN", TOKEN[::-1])
    file.write_text(file.read_text().replace(TOKEN, TOKEN[::-1]))
    assert "a: another key" in drift_of(file)


def test_reasons_have_no_secret_and_name_no_change_of_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    flow = bench.flow({"a": {"type": "Null", "value": TOKEN}})
    assert run(flow).ok
    planned = plan(flow, overrides=["passes.a.bytes=7"])
    assert [reason.field for reason in planned.nodes["a"].reasons] == ["bytes"]
    assert TOKEN not in json.dumps(planned.to_json())


def test_an_output_other_than_the_locked_one_is_not_delivered(bench: Bench, tmp_path: Path) -> None:
    file = bench.file({"a": {"type": "Null", "nondeterministic": True}})
    assert run(file, lock=True).ok
    with pytest.raises(LockDrift, match="a: output"):
        run(file, locked=True, cache_dir=tmp_path / "other", output_dir=tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / "a").exists()
