"""The API in the places where it is embedded, and the command line around it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest

import olive_like
from olive_like.engine.cancel import CancelHandle
from olive_like.errors import PassError, WorkflowError
from tests.engine.conftest import COMMAND, Bench

ONE = {"a": {"type": "Null"}}


def test_in_a_thread(bench: Bench) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(bench.run(ONE)))
    thread.start()
    thread.join(60)
    assert results[0].ok


def test_inside_a_running_loop(bench: Bench) -> None:
    async def main() -> list[bool]:
        blocking = bench.run(ONE).ok
        beside = await asyncio.gather(
            *(asyncio.to_thread(bench.run, {"a": {"type": "Null", "value": n}}) for n in range(3))
        )
        return [blocking, *(result.ok for result in beside)]

    assert asyncio.run(main()) == [True] * 4


def test_nothing_is_printed(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.run({"a": {"type": "Null"}, "b": {"type": "Null", "fail": True}})
    assert capfd.readouterr() == ("", "")


def test_cancelled_from_another_thread(bench: Bench) -> None:
    cancel = CancelHandle()
    threading.Timer(1.0, cancel.cancel).start()
    began = time.time()
    result = bench.run({"a": {"type": "Null", "seconds": 60}, "b": {"type": "Null"}}, cancel=cancel)
    assert time.time() - began < 6
    assert result.status == "interrupted"
    assert {item.status for item in result.passes.values()} == {"skipped"}
    assert bench.leftovers() == []
    assert bench.run(ONE, cancel=cancel).status == "interrupted"


def test_no_signal_handler_is_left_behind(bench: Bench) -> None:
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    bench.run(ONE)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_result_is_told_and_raised(bench: Bench) -> None:
    good = bench.run(ONE)
    assert good.raise_for_status() is good
    document = json.loads(json.dumps(good.to_json()))
    assert document["status"] == "ok"
    assert document["run"] == good.run_id
    assert set(document["passes"][0]) >= {
        "name", "status", "key", "digest", "seconds", "peak_rss_bytes", "metrics", "error",
    }  # fmt: skip
    assert set(document["outputs"]["a"]) == {"path", "kind", "digest", "bytes"}
    with pytest.raises(PassError, match="a: told to fail"):
        bench.run({"a": {"type": "Null", "fail": True}}).raise_for_status()


def test_the_package_itself_has_it(bench: Bench) -> None:
    assert olive_like.run(bench.flow(ONE)).ok
    with pytest.raises(olive_like.OliveLikeError):
        olive_like.run(bench.root / "nothing.yaml")


def test_overrides_and_folders(bench: Bench) -> None:
    bench.run(
        {"a": {"type": "Null"}},
        overrides=["passes.a.bytes=3"],
        output_dir=bench.root / "elsewhere",
        cache_dir=bench.root / "other",
    )
    assert (bench.root / "elsewhere" / "a" / "null.bin").stat().st_size == 3
    assert not bench.cache.exists()


def test_a_workflow_object_runs(bench: Bench) -> None:
    workflow = olive_like.Workflow(**bench.flow(ONE))
    assert olive_like.run(workflow).ok


def test_all_hits_start_nothing_heavy(bench: Bench) -> None:
    file = bench.file({"a": {"type": "Null"}, "b": {"type": "Null"}})
    assert bench.command("run", str(file)).returncode == 0
    import subprocess

    heavy = {"asyncio", "subprocess", "torch", "rich", "psutil", "multiprocessing"}
    code = f"import sys; from olive_like.cli import main; print(main(), sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([COMMAND[0], "-c", code, "run", str(file)], capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "0 []"


def test_exit_codes(bench: Bench) -> None:
    assert bench.command("run", str(bench.file(ONE))).returncode == 0
    assert bench.command("run", "--config", str(bench.file(ONE))).returncode == 0
    assert bench.command("run", str(bench.file({"a": {"type": "Null", "fail": True}}))).returncode == 1
    assert bench.command("run", str(bench.file({"a": {"type": "Nul"}}))).returncode == 2
    assert bench.command("run").returncode == 2
    assert bench.command("run", str(bench.file(ONE)), "--jobs", "0").returncode == 2


def test_a_locked_run_that_drifted(bench: Bench) -> None:
    file = bench.file(ONE)
    assert bench.command("run", str(file), "--lock").returncode == 0
    assert (bench.root / "flow.json.lock").is_file()
    assert bench.command("run", str(file), "--locked").returncode == 0
    bench.file({"a": {"type": "Null", "bytes": 5}})
    drifted = bench.command("run", str(file), "--locked")
    assert drifted.returncode == 3
    assert "bytes" in drifted.stderr


def test_runs_and_logs(bench: Bench, plugin: Path) -> None:
    cache = ["--cache-dir", str(bench.cache)]
    assert json.loads(bench.command("runs", "--json", *cache).stdout) == {"runs": []}
    result = bench.run({"talk": {"type": "Talk"}, "bad": {"type": "Null", "fail": True}})
    listed = json.loads(bench.command("runs", "--json", *cache).stdout)["runs"]
    assert [(run["run"], run["status"], run["passes"]) for run in listed] == [
        (result.run_id, "failed", {"ran": 1, "failed": 1})
    ]
    shown = json.loads(bench.command("runs", "show", result.run_id, "--json", *cache).stdout)
    assert [item["name"] for item in shown["passes"]] == ["talk", "bad"]
    assert "told to fail" in bench.command("runs", "show", "last", *cache).stdout
    assert "out hello" in bench.command("logs", "last", "talk", *cache).stdout
    log = json.loads(bench.command("logs", result.run_id[:18], "talk", "--json", *cache).stdout)
    assert "out hello" in log["log"]
    assert next(event["event"] for event in log["events"]) == "started"
    assert bench.command("logs", "last", "nobody", *cache).returncode == 1
    assert bench.command("runs", "show", "2019", *cache).returncode == 1


def test_the_plain_view_and_the_summary(bench: Bench) -> None:
    passes = {"a": {"type": "Null"}, "b": {"type": "Null", "fail": True}, "c": {"type": "Null"}}
    said = bench.command("run", str(bench.file(passes)))
    assert [line for line in said.stderr.splitlines() if not line.startswith("a: done in")] == [
        "a: started", "b: started", "b: failed: told to fail", "c: skipped, b failed",
    ]  # fmt: skip
    assert "hint: Set `fail: false`." in said.stdout
    assert "python -m olive_like.engine.replay" in said.stdout
    assert "1 ran, 1 failed, 1 skipped" in said.stdout


def test_a_missing_library_is_told_before_anything_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from olive_like.passes.pretend.null import Null

    monkeypatch.setattr(Null, "tools", ("a-library-that-nobody-has",))
    with pytest.raises(WorkflowError, match="needs a-library-that-nobody-has") as caught:
        bench.run(ONE)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("source", [None, [], 3])
def test_what_is_no_workflow_is_told(source: object) -> None:
    for call in (olive_like.run, olive_like.plan, olive_like.check):
        with pytest.raises(WorkflowError, match=f"not {type(source).__name__}"):
            call(source)  # type: ignore[arg-type]
