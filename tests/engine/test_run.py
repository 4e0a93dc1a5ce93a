"""Runs on the pretend system: what is made, what is a hit, what is skipped."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from olive_like.api import check, plan, run
from olive_like.engine import progress
from olive_like.errors import WorkflowError
from tests.engine.conftest import Bench

CHAIN = {"a": {"type": "Null"}, "b": {"type": "Null", "bytes": 10}, "c": {"type": "Null", "bytes": 20}}


def statuses(result) -> dict[str, str]:
    return {name: item.status for name, item in result.passes.items()}


def test_a_second_run_hits_and_gives_the_same(bench: Bench) -> None:
    first = bench.run(CHAIN)
    assert first.ok
    assert statuses(first) == {"a": "ran", "b": "ran", "c": "ran"}
    second = bench.run(CHAIN)
    assert statuses(second) == {"a": "hit", "b": "hit", "c": "hit"}
    assert {n: p.digest for n, p in first.passes.items()} == {n: p.digest for n, p in second.passes.items()}
    assert first.outputs["c"].path == bench.out / "c"
    assert (bench.out / "c" / "null.bin").stat().st_size == 20
    assert bench.leftovers() == []


def test_in_process_gives_the_same_as_workers(bench: Bench, tmp_path: Path) -> None:
    with_workers = bench.run(CHAIN)
    here = Bench(tmp_path / "other").run(CHAIN, in_process=True)
    assert statuses(here) == {"a": "ran", "b": "ran", "c": "ran"}
    assert {n: (p.key, p.digest) for n, p in here.passes.items()} == {
        n: (p.key, p.digest) for n, p in with_workers.passes.items()
    }


def test_a_changed_setting_runs_what_stands_on_it(bench: Bench) -> None:
    bench.run(CHAIN)
    changed = bench.run({**CHAIN, "b": {"type": "Null", "bytes": 11}})
    assert statuses(changed) == {"a": "hit", "b": "ran", "c": "ran"}


def test_what_is_asked_for_runs_again_and_replaces_what_was_there(bench: Bench) -> None:
    passes = {
        "dice": {"type": "Null", "nondeterministic": True},
        "after": {"type": "Null"},
        "beside": {"type": "Null", "input": "input_model"},
    }
    first = bench.run(passes)
    again = bench.run(passes, again=["dice"])
    assert statuses(again) == {"dice": "ran", "after": "ran", "beside": "hit"}
    assert again.passes["dice"].digest != first.passes["dice"].digest
    then = bench.run(passes)
    assert statuses(then) == {"dice": "hit", "after": "hit", "beside": "hit"}
    assert then.passes["dice"].digest == again.passes["dice"].digest


@pytest.mark.parametrize("in_process", [False, True])
def test_the_wave_of_what_is_asked_for_stops_where_the_same_bytes_come_out(bench: Bench, in_process: bool) -> None:
    bench.run(CHAIN)
    assert statuses(bench.run(CHAIN, again=["b"], in_process=in_process)) == {"a": "hit", "b": "ran", "c": "hit"}
    with pytest.raises(WorkflowError, match="no pass 'B'"):
        bench.run(CHAIN, again=["B"])


def test_a_failed_attempt_at_what_is_asked_for_leaves_what_was_there(bench: Bench) -> None:
    first = bench.run(CHAIN)
    assert not bench.run(CHAIN, again=["c"], timeout=1e-3).ok
    assert bench.run(CHAIN).passes["c"].digest == first.passes["c"].digest


def test_a_setting_that_changes_no_result_runs_nothing(bench: Bench) -> None:
    bench.run(CHAIN)
    assert statuses(bench.run({**CHAIN, "b": {"type": "Null", "bytes": 10, "seconds": 9}}))["b"] == "hit"


def test_the_wave_stops_where_the_same_bytes_come_out(bench: Bench, plugin: Path) -> None:
    """`middle` gives the same text whatever its input says, so what follows it is a hit."""
    trace = str(bench.root / "trace")
    passes = {
        "first": {"type": "Null", "value": 1},
        "middle": {"type": "Checkpoints", "seconds": 0, "trace": trace},
        "last": {"type": "Null"},
    }
    bench.run(passes)
    again = bench.run({**passes, "first": {"type": "Null", "value": 2}})
    assert statuses(again) == {"first": "ran", "middle": "ran", "last": "hit"}


def test_branches_run_side_by_side(bench: Bench) -> None:
    passes = {
        "left": {"type": "Null", "seconds": 1.5, "value": 1, "input": "input_model"},
        "right": {"type": "Null", "seconds": 1.5, "value": 2, "input": "input_model"},
    }
    began = time.time()
    assert bench.run(passes, jobs=2).ok
    assert time.time() - began < 2.7
    assert [e for e in _events(bench) if e["event"] == "started"][1]["slot"] == 1


def test_a_failure_skips_what_stands_on_it_and_nothing_else(bench: Bench) -> None:
    passes = {
        "bad": {"type": "Null", "fail": True, "input": "input_model"},
        "below": {"type": "Null"},
        "good": {"type": "Null", "value": 1, "input": "input_model"},
        "fine": {"type": "Null", "value": 2},
        "join": {"type": "Null", "inputs": ["below", "fine"]},
    }
    result = bench.run(passes)
    assert result.status == "failed"
    assert not result.ok
    assert statuses(result) == {"bad": "failed", "below": "skipped", "good": "ran", "fine": "ran", "join": "skipped"}
    error = result.passes["bad"].error
    assert error is not None
    assert error["message"] == "told to fail"
    assert Path(error["log"]).is_file()
    assert (Path(error["repro"]) / "job.json").is_file()
    assert "join" not in result.outputs
    assert bench.leftovers() == []


def test_a_failure_is_not_kept_as_a_result(bench: Bench, plugin: Path) -> None:
    tally = bench.root / "tally"
    passes = {"die": {"type": "Die", "exit": 3, "tally": str(tally), "times": 1}}
    assert bench.run(passes).passes["die"].status == "failed"
    assert bench.run(passes).passes["die"].status == "ran"


@pytest.mark.parametrize("in_process", [False, True])
def test_fail_fast_starts_nothing_more(bench: Bench, in_process: bool) -> None:
    passes = {
        "bad": {"type": "Null", "fail": True, "input": "input_model"},
        "good": {"type": "Null", "value": 1, "seconds": 1, "input": "input_model"},
        "fine": {"type": "Null", "value": 2},
    }
    result = bench.run(passes, fail_fast=True, jobs=1, in_process=in_process)
    assert statuses(result) == {"bad": "failed", "good": "skipped", "fine": "skipped"}


def test_until_and_only(bench: Bench) -> None:
    with pytest.raises(WorkflowError, match="cannot run alone"):
        bench.run(CHAIN, only="b")
    assert statuses(bench.run(CHAIN, until="b")) == {"a": "ran", "b": "ran"}
    assert statuses(bench.run(CHAIN, only="c")) == {"a": "hit", "b": "hit", "c": "ran"}


def test_two_passes_that_are_the_same_run_once(bench: Bench) -> None:
    passes = {name: {"type": "Null", "seconds": 0.3, "input": "input_model"} for name in ("one", "two", "three")}
    result = bench.run(passes, jobs=3)
    assert sorted(statuses(result).values()) == ["hit", "hit", "ran"]


def test_what_a_pass_says_is_in_the_result_and_in_later_hits(bench: Bench, plugin: Path) -> None:
    passes = {"talk": {"type": "Talk"}}
    first = bench.run(passes).passes["talk"]
    assert first.metrics == {"words": 3}
    assert list(first.notes) == ["hello"]
    assert list(first.warnings) == ["hello"]
    again = bench.run(passes).passes["talk"]
    assert again.status == "hit"
    assert again.metrics == {"words": 3}
    assert list(again.notes) == list(again.warnings) == ["hello"]


def test_a_measuring_pass_runs_alone(bench: Bench, plugin: Path) -> None:
    trace = bench.root / "trace"
    passes = {
        f"{kind}{n}": {"type": kind, "value": n, "trace": str(trace), "input": "input_model"}
        for n in range(2)
        for kind in ("Untimed", "Timed")
    }
    assert bench.run(passes, jobs=4).ok
    spans = [line.split() for line in trace.read_text().splitlines()]
    for kind, began, ended in spans:
        if kind == "Timed":
            others = [s for s in spans if s[1] != began and float(s[1]) < float(ended) and float(s[2]) > float(began)]
            assert others == []


def test_a_value_loaded_in_a_worker_is_there_for_the_next_pass(bench: Bench, plugin: Path) -> None:
    passes = {name: {"type": "Remember", "value": value} for value, name in enumerate(("one", "two"))}
    result = bench.run(passes, jobs=1)
    assert result.passes["one"].metrics == {"loads": 1}  # the input model
    assert result.passes["two"].metrics == {"loads": 0}  # what `one` kept, found by the digest of its result
    alone = bench.run({**passes, "three": {"type": "Remember", "value": 3}})
    assert alone.passes["three"].status == "ran"
    assert alone.passes["three"].metrics == {"loads": 1}  # in a worker of another run


def test_plan_and_check(bench: Bench) -> None:
    planned = plan(bench.flow(CHAIN))
    assert [node.status.value for node in planned.nodes.values()] == ["miss", "waits", "waits"]
    assert check(bench.flow(CHAIN)).ok
    wrong = check(bench.flow({"a": {"type": "Nul"}}))
    assert not wrong.ok
    assert wrong.to_json()["diagnostics"][0]["severity"] == "error"


def test_a_wrong_workflow_is_raised_with_its_diagnostics(bench: Bench) -> None:
    with pytest.raises(WorkflowError) as caught:
        bench.run({"a": {"type": "Null", "byts": 1}})
    assert caught.value.diagnostics
    with pytest.raises(WorkflowError, match="1 or more"):
        bench.run(CHAIN, jobs=0)


def test_ten_thousand_independent_names_do_not_meet_in_a_log(bench: Bench, plugin: Path) -> None:
    result = bench.run({"talk": {"type": "Talk"}, "talk2": {"type": "Talk", "text": "other"}}, jobs=2)
    logs = {name: (result.folder / "logs" / f"{name}.log").read_text() for name in result.passes}
    assert "out hello" in logs["talk"]
    assert "child hello" in logs["talk"]
    assert "other" not in logs["talk"]
    assert "out other" in logs["talk2"]


def _events(bench: Bench) -> list[dict]:
    folder = max((bench.cache / "runs").iterdir())
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_events_tell_the_whole_run(bench: Bench) -> None:
    heard: list[dict] = []
    result = run(bench.flow({"a": {"type": "Null", "seconds": 0.6}}), on_event=heard.append)
    assert [e["event"] for e in heard] == [
        "run started", "started", "progress", "progress", "done", "output", "run ended",
    ]  # fmt: skip
    assert heard == _events(bench)
    assert json.loads((result.folder / "run.json").read_text())["status"] == "ok"
    assert json.loads((result.folder / "plan.json").read_text())["nodes"][0]["name"] == "a"
    assert (result.folder / "metrics" / "a.jsonl").read_text().count("\n") == 2


def test_an_output_folder_that_cannot_be_made_is_refused_before_anything_runs(bench: Bench) -> None:
    (bench.root / "file").write_text("")
    with pytest.raises(WorkflowError, match=r"file is a file") as caught:
        run(bench.flow(CHAIN, output_dir=str(bench.root / "file" / "deep")))
    assert "output_dir" in caught.value.hint
    assert not bench.cache.exists() or not list(bench.cache.glob("objects/*/*"))


def test_what_cannot_be_heeded_together_is_refused(bench: Bench) -> None:
    with pytest.raises(WorkflowError, match="cannot be ended"):
        bench.run(CHAIN, in_process=True, timeout=5)
    with pytest.raises(WorkflowError, match="exclude each other"):
        bench.run(CHAIN, until="a", only="b")


def test_what_was_noticed_in_the_workflow_is_told_when_it_runs(bench: Bench) -> None:
    heard: list[dict] = []
    flow = {"log_severity_level": 1, "data_configs": {"rows": {"rows": [{"text": "a"}]}}}
    assert bench.run(CHAIN, flow, on_event=heard.append).ok
    told = [(e["event"], e["text"][-7:]) for e in heard if e["event"] in ("warning", "note")]
    assert told == [("note", "(OL351)"), ("warning", "(OL206)")]
    assert progress.describe({"event": "note", "text": "x"}) == "note: x"
    assert progress.describe({"event": "note", "text": "x", "pass": "a"}) is None
