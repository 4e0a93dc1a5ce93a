"""Workers and engines that die, hang and are interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from olive_like.engine.runs import find_run
from olive_like.engine.worker import failure
from tests.engine.conftest import Bench, gone, interrupt, wait_for

pytestmark = pytest.mark.usefixtures("plugin", "no_process_left")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"signal": "SIGKILL"}, "was killed (SIGKILL)"),
        ({"signal": "SIGSEGV"}, "crashed (SIGSEGV)"),
        ({"exit": 3}, "ended with exit code 3 in the middle of the pass"),
    ],
)
def test_a_worker_that_dies_fails_its_pass_and_nothing_else(bench: Bench, settings: dict, words: str) -> None:
    passes = {
        "die": {"type": "Die", "input": "input_model", **settings},
        "below": {"type": "Null"},
        "other": {"type": "Null", "value": 1, "input": "input_model"},
        "after": {"type": "Null", "value": 2},
    }
    result = bench.run(passes, jobs=1)
    assert {n: p.status for n, p in result.passes.items()} == {
        "die": "failed", "below": "skipped", "other": "ran", "after": "ran",
    }  # fmt: skip
    error = result.passes["die"].error
    assert error is not None
    assert words in error["message"]
    assert bench.leftovers() == []
    assert bench.run(passes, jobs=1).passes["die"].status == "failed"


def test_a_memory_kill_says_so(bench: Bench) -> None:
    result = bench.run({"die": {"type": "Die", "signal": "SIGKILL"}})
    assert "memory" in result.passes["die"].error["hint"]


def test_a_lost_worker_is_tried_again_as_often_as_asked(bench: Bench) -> None:
    tally = bench.root / "tally"
    passes = {"die": {"type": "Die", "signal": "SIGKILL", "tally": str(tally), "times": 2}}
    assert bench.run(passes, retries=1).passes["die"].status == "failed"
    assert tally.read_text() == "xx"
    tally.write_text("")
    result = bench.run(passes, retries=2)
    assert result.passes["die"].status == "ran"
    assert len(result.passes["die"].warnings) == 2
    assert not bench.run(passes).passes["die"].warnings  # of a run, and not of what it made


def test_what_fails_by_itself_is_not_tried_again(bench: Bench) -> None:
    result = bench.run({"bad": {"type": "Raise"}}, retries=3)
    error = result.passes["bad"].error
    assert error["message"] == "ValueError: bad luck"
    assert "Traceback" in Path(error["log"]).read_text()


@pytest.mark.parametrize("what", ["SystemExit", "KeyboardInterrupt", "MemoryError", "RecursionError"])
def test_whatever_a_pass_raises_is_its_failure(bench: Bench, what: str) -> None:
    result = bench.run({"bad": {"type": "Raise", "what": what}})
    assert what in result.passes["bad"].error["message"]


def test_a_pass_that_takes_too_long_is_ended_with_its_children(bench: Bench) -> None:
    pids = bench.root / "pids"
    result = bench.run({"slow": {"type": "Parent", "pids": str(pids), "stubborn": True}}, timeout=3)
    assert result.passes["slow"].error["message"] == "the pass was not done after 3 s"
    wait_for(lambda: all(gone(int(pid)) for pid in pids.read_text().split()), 5)


def test_a_worker_that_is_silent_is_given_up(bench: Bench) -> None:
    file = bench.file({"stop": {"type": "Die", "signal": "SIGSTOP"}})
    said = bench.command("run", str(file), env={**os.environ, "OLIVE_LIKE_SILENCE_SECONDS": "2"})
    assert said.returncode == 1
    assert "the worker gave no sign of life for 2 s" in said.stdout


def test_a_pass_that_takes_too_long_is_no_silent_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("olive_like.engine.worker_handle.SILENCE_SECONDS", 2.0)
    result = bench.run({"slow": {"type": "Null", "seconds": 60}}, timeout=3, retries=2)
    assert result.passes["slow"].error["message"] == "the pass was not done after 3 s"
    assert not result.passes["slow"].warnings


def test_a_hint_for_what_meets_every_pass() -> None:
    full = failure(OSError(28, "No space left on device", "/x"))
    assert full["message"].startswith("OSError: [Errno 28] No space left on device")
    assert "cache gc" in full["hint"]
    assert "smaller batches" in failure(MemoryError())["hint"]
    assert failure(ValueError("one\ntwo"))["message"] == "ValueError: one …"


def test_a_worker_that_is_killed_takes_its_children_along(bench: Bench) -> None:
    pids = bench.root / "pids"
    process = bench.start(bench.file({"slow": {"type": "Parent", "pids": str(pids), "stubborn": True}}))
    worker, child, elsewhere = map(int, wait_for(lambda: pids.exists() and pids.read_text().split()))
    os.kill(worker, signal.SIGKILL)
    assert process.wait(30) == 1
    wait_for(lambda: gone(worker) and gone(child), 5)
    os.kill(elsewhere, signal.SIGKILL)  # in a session of its own, of a parent that nobody could ask: not promised


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_ends_everything_within_five_seconds(bench: Bench, number: int, stubborn: bool) -> None:
    pids = bench.root / "pids"
    file = bench.file({"slow": {"type": "Parent", "pids": str(pids), "stubborn": stubborn}})
    process = bench.start(file, "--json")
    children = [int(pid) for pid in wait_for(lambda: pids.exists() and pids.read_text().split())]
    code, seconds = interrupt(process, number)
    assert code == 128 + number
    assert seconds < 5
    assert all(gone(pid) for pid in children)
    assert process.stdout is not None
    said = json.loads(process.stdout.read())
    assert said["status"] == "interrupted"
    assert said["passes"][0]["status"] == "skipped"
    assert bench.leftovers() == []
    assert not bench.out.exists()
    assert find_run(bench.cache, "last").status == "interrupted"


def test_an_interrupt_of_a_program_that_runs_a_workflow(bench: Bench) -> None:
    pids = bench.root / "pids"
    file = bench.file({"slow": {"type": "Parent", "pids": str(pids)}})
    code = f"""
import olive_like
try:
    olive_like.run({str(file)!r})
except KeyboardInterrupt:
    print("stopped")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    children = [int(pid) for pid in wait_for(lambda: pids.exists() and pids.read_text().split())]
    code_of_exit, seconds = interrupt(process)
    assert seconds < 5
    assert code_of_exit == 0
    assert process.communicate()[0] == "stopped\n"
    assert all(gone(pid) for pid in children)
    assert find_run(bench.cache, "last").status == "interrupted"
    assert bench.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_without_workers(bench: Bench, number: int) -> None:
    trace = bench.root / "trace"
    file = bench.file({"train": {"type": "Checkpoints", "trace": str(trace)}})
    process = bench.start(file, "--in-process")
    wait_for(lambda: trace.exists() and len(trace.read_text().split()) >= 2)
    code, seconds = interrupt(process, number)
    assert code == 128 + number
    assert seconds < 5
    assert bench.leftovers() == []
    assert bench.run({"train": {"type": "Checkpoints", "trace": str(trace)}}).ok
    assert len(trace.read_text().split()) <= 11


def test_a_run_goes_on_where_it_was_interrupted(bench: Bench) -> None:
    trace = bench.root / "trace"
    passes = {"first": {"type": "Null"}, "train": {"type": "Checkpoints", "trace": str(trace)}}
    process = bench.start(bench.file(passes))
    wait_for(lambda: trace.exists() and len(trace.read_text().split()) >= 3)
    assert interrupt(process)[0] == 130
    result = bench.run(passes)
    assert {n: p.status for n, p in result.passes.items()} == {"first": "hit", "train": "ran"}
    steps = trace.read_text().split()
    assert sorted(set(map(int, steps))) == list(range(10))
    assert len(steps) <= 11  # at most the step that was cut off is done twice
    assert list((bench.cache / "scratch").iterdir()) == []


def test_an_engine_that_is_killed_takes_all_its_children_along(bench: Bench) -> None:
    pids = bench.root / "pids"
    process = bench.start(bench.file({"slow": {"type": "Parent", "pids": str(pids), "stubborn": True}}))
    worker, child, elsewhere = map(int, wait_for(lambda: pids.exists() and pids.read_text().split()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: gone(worker) and gone(child), 5)
    os.kill(elsewhere, signal.SIGKILL)
    assert find_run(bench.cache, "last").status == "lost"
    result = bench.run({"a": {"type": "Null"}})
    assert result.ok
    assert bench.leftovers() == []


SIX = {
    "a": {"type": "Null", "seconds": 0.05},
    "b": {"type": "Null", "bytes": 100_000, "seconds": 0.05, "input": "a"},
    "c": {"type": "Null", "bytes": 3_000_000, "input": "a"},
    "d": {"type": "Null", "inputs": ["b", "c"], "seconds": 0.05},
    "e": {"type": "Null", "value": 5, "input": "d"},
    "f": {"type": "Null", "bytes": 2_000_000, "input": "d"},
}
MOMENTS = int(os.environ.get("OLIVE_LIKE_TEST_KILLS", "12"))


@pytest.mark.timeout(60 + 5 * MOMENTS)
def test_killed_at_any_moment_the_next_run_gives_the_same(bench: Bench, tmp_path: Path) -> None:
    undisturbed = Bench(tmp_path / "calm").run(SIX, jobs=2)
    wanted = {name: item.digest for name, item in undisturbed.passes.items()}
    dice = random.Random(1)
    kills = 0
    for moment in range(MOMENTS):
        place = Bench(tmp_path / str(moment))
        place.root.mkdir()
        file = place.file(SIX)
        began = time.time()
        process = place.start(file, "--jobs", "2", start_new_session=True)
        try:
            process.wait(dice.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            kills += 1
        if process.poll() is None:
            process.kill()
        process.communicate()
        again = place.run(SIX, jobs=2)
        assert again.ok, f"killed after {time.time() - began:.2f} s"
        assert {name: item.digest for name, item in again.passes.items()} == wanted
        for name, output in again.outputs.items():
            assert sorted(p.name for p in output.path.iterdir()) == ["null.bin", "provenance.json"]
            assert (output.path / "null.bin").read_bytes() == (undisturbed.outputs[name].path / "null.bin").read_bytes()
        assert sorted(p.name for p in place.out.iterdir()) == ["e", "f"]
        assert place.leftovers() == []
    assert kills >= MOMENTS // 3


@pytest.mark.timeout(240)
def test_twenty_processes_run_each_pass_once(bench: Bench) -> None:
    tallies = {name: bench.root / f"tally-{name}" for name in ("a", "b", "c")}
    passes = {
        "a": {"type": "Checkpoints", "seconds": 0.02, "trace": str(tallies["a"]), "input": "input_model"},
        "b": {"type": "Talk", "input": "input_model"},
        "c": {"type": "Null", "inputs": ["a", "b"], "bytes": 100_000},
    }
    file = bench.file(passes)
    processes = [bench.start(file, "--json", "--jobs", "2") for _ in range(20)]
    results = [json.loads(process.communicate(timeout=200)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 20
    assert {json.dumps({p["name"]: p["digest"] for p in r["passes"]}) for r in results} == {
        json.dumps({p["name"]: p["digest"] for p in results[0]["passes"]})
    }
    ran = [p["name"] for result in results for p in result["passes"] if p["status"] == "ran"]
    assert sorted(ran) == ["a", "b", "c"]
    assert tallies["a"].read_text().split() == [str(step) for step in range(10)]
    assert bench.leftovers() == []


def test_a_damaged_input_is_made_again(bench: Bench) -> None:
    passes = {"a": {"type": "Null", "bytes": 50}, "b": {"type": "Null"}}
    first = bench.run(passes)
    stored = next((bench.cache / "objects").glob(f"*/{first.passes['a'].digest}")) / "null.bin"
    stored.chmod(0o644)
    stored.write_bytes(b"x" * 50)
    result = bench.run({**passes, "c": {"type": "Null", "input": "a", "value": 1}})
    assert {n: p.status for n, p in result.passes.items()} == {"a": "ran", "b": "hit", "c": "ran"}
    assert result.passes["a"].digest == first.passes["a"].digest


@pytest.mark.parametrize("in_process", [False, True])
def test_a_damaged_input_that_a_pass_takes_twice_is_made_again(bench: Bench, in_process: bool) -> None:
    passes = {"a": {"type": "Null"}, "b": {"type": "Null", "inputs": ["a", "a"]}}
    first = bench.run(passes)
    next((bench.cache / "objects").glob(f"*/{first.passes['a'].digest}/null.bin")).unlink()
    file = bench.file({**passes, "b": {"type": "Null", "inputs": ["a", "a"], "bytes": 11}})
    process = bench.start(file, "--json", *(["--in-process"] if in_process else []))
    out, _ = process.communicate(timeout=60)
    assert [item["status"] for item in json.loads(out)["passes"]] == ["ran", "ran"]


@pytest.mark.usefixtures("plugin")
def test_what_a_damaged_result_had_said_is_not_said_twice(bench: Bench) -> None:
    passes = {"a": {"type": "Talk"}, "b": {"type": "Null"}}
    first = bench.run(passes, in_process=True)
    next((bench.cache / "objects").glob(f"*/{first.passes['a'].digest}/*")).unlink()
    again = bench.run({**passes, "b": {"type": "Null", "bytes": 3}}, in_process=True)
    assert again.passes["a"].status == "ran"
    assert again.passes["a"].notes == first.passes["a"].notes == ["hello"]
    assert again.passes["a"].warnings == first.passes["a"].warnings == ["hello"]


@pytest.mark.parametrize("in_process", [False, True])
def test_a_damaged_output_is_made_again_with_what_it_needs(bench: Bench, in_process: bool) -> None:
    passes = {"a": {"type": "Null", "bytes": 50}, "b": {"type": "Null"}}
    first = bench.run(passes)
    for item in first.passes.values():
        stored = next((bench.cache / "objects").glob(f"*/{item.digest}")) / "null.bin"
        stored.unlink()
    heard: list[dict] = []
    result = bench.run(passes, on_event=heard.append, in_process=in_process)
    assert result.ok
    assert {n: p.status for n, p in result.passes.items()} == {"a": "ran", "b": "ran"}
    assert sum("damaged" in e.get("text", "") for e in heard) == 2


@pytest.mark.parametrize("in_process", [False, True])
def test_a_result_is_not_kept_if_a_script_changed_meanwhile(bench: Bench, in_process: bool) -> None:
    model = bench.root / "model.onnx"
    model.write_bytes(b"not looked into")
    flow = {"input_model": {"type": "OnnxModel", "model_path": str(model)}}
    result = bench.run({"spoil": {"type": "Spoil", "path": str(model)}}, flow, in_process=in_process)
    assert "changed while" in result.passes["spoil"].error["message"]
    assert psutil.Process().children() == []


def test_a_pass_that_is_not_deterministic_is_warned_of(bench: Bench) -> None:
    passes = {"dice": {"type": "Null", "nondeterministic": True}}
    first = bench.run(passes)
    stored = next((bench.cache / "objects").glob(f"*/{first.passes['dice'].digest}")) / "null.bin"
    stored.unlink()
    heard: list[dict] = []
    assert bench.run(passes, on_event=heard.append).ok
    assert any("not deterministic" in event.get("text", "") for event in heard)
