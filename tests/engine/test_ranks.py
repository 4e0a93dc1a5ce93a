"""Passes of several ranks behind a launcher."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Bench, gone, interrupt, wait_for

pytestmark = pytest.mark.usefixtures("plugin", "no_process_left")


def flow(bench: Bench, ranks: int = 3, broken: bool = False, **settings: object) -> tuple[dict, dict]:
    pids = bench.root / "pids"
    pids.mkdir(exist_ok=True)
    systems = {"many": {"type": "ranks", "ranks": ranks, "broken": broken}}
    return {"train": {"type": "Ranks", "pids": str(pids), **settings}}, {"systems": systems, "system": "many"}


def all_gone(bench: Bench, ranks: int = 3) -> bool:
    pids = [int(path.read_text()) for path in (bench.root / "pids").iterdir()]
    return len(pids) == ranks and all(gone(pid) for pid in pids)


def test_all_ranks_are_through_before_the_result_is_sealed(bench: Bench) -> None:
    passes, more = flow(bench)
    result = bench.run(passes, more)
    assert result.ok, result.passes["train"].error
    files = {path.name: path.read_text() for path in result.outputs["train"].path.glob("*.txt")}
    assert files == {f"rank{n}.txt": f"{n} of 3" for n in range(3)}
    assert all_gone(bench)


def test_a_rank_that_fails_fails_the_pass_and_ends_the_others(bench: Bench) -> None:
    passes, more = flow(bench, fail_rank=1)
    result = bench.run(passes, more)
    assert result.passes["train"].error["message"] == "rank 1: this rank fails"
    assert all_gone(bench)
    assert bench.leftovers() == []


def test_a_rank_that_is_killed_is_named(bench: Bench) -> None:
    passes, more = flow(bench, kill_rank=2)
    result = bench.run(passes, more)
    assert result.passes["train"].error["message"].startswith("rank 2 (pid ")
    assert all_gone(bench)


def test_a_rank_that_hangs_ends_with_the_timeout(bench: Bench) -> None:
    passes, more = flow(bench, hang_rank=2)
    result = bench.run(passes, more, timeout=4)
    assert result.passes["train"].error["message"] == "the pass was not done after 4 s"
    assert all_gone(bench)


def test_a_launcher_that_cannot_start_is_told_with_its_log(bench: Bench) -> None:
    passes, more = flow(bench, broken=True)
    result = bench.run(passes, more)
    error = result.passes["train"].error
    assert "ended with exit code 7 before all 3 ranks were there" in error["message"]
    assert "no rendezvous today" in Path(error["log"]).read_text()


def test_a_signal_ends_all_ranks(bench: Bench) -> None:
    passes, more = flow(bench, hang_rank=0)
    process = bench.start(bench.file(passes, **more))
    wait_for(lambda: len(list((bench.root / "pids").glob("*"))) == 3)
    code, seconds = interrupt(process)
    assert code == 130
    assert seconds < 5
    wait_for(lambda: all_gone(bench), 1)


def test_ranks_outlive_no_killed_engine(bench: Bench) -> None:
    passes, more = flow(bench, hang_rank=0)
    process = bench.start(bench.file(passes, **more))
    wait_for(lambda: len(list((bench.root / "pids").glob("*"))) == 3)
    process.kill()
    process.wait()
    wait_for(lambda: all_gone(bench), 5)
