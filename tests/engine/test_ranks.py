"""Passes of several ranks behind a launcher."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from olive_like.engine.meeting import meet
from tests.engine.conftest import Bench, gone, interrupt, wait_for

pytestmark = pytest.mark.usefixtures("plugin", "no_process_left")


def flow(
    bench: Bench, ranks: int = 3, broken: bool = False, elsewhere: bool = False, **settings: object
) -> tuple[dict, dict]:
    pids = bench.root / "pids"
    pids.mkdir(exist_ok=True)
    systems = {"many": {"type": "ranks", "ranks": 3, "broken": broken, "elsewhere": elsewhere}}
    return {"train": {"type": "Ranks", "pids": str(pids), **settings}}, {"systems": systems, "system": "many"}


def all_gone(bench: Bench, ranks: int = 3) -> bool:
    pids = [int(path.read_text()) for path in (bench.root / "pids").iterdir()]
    return len(pids) == ranks and all(gone(pid) for pid in pids)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_all_ranks_are_through_before_the_result_is_sealed(bench: Bench, elsewhere: bool) -> None:
    passes, more = flow(bench, elsewhere=elsewhere)
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


@pytest.mark.parametrize("elsewhere", [False, True])
def test_ranks_outlive_no_killed_engine(bench: Bench, elsewhere: bool) -> None:
    passes, more = flow(bench, hang_rank=0, elsewhere=elsewhere)
    process = bench.start(bench.file(passes, **more))
    wait_for(lambda: len(list((bench.root / "pids").glob("*"))) == 3)
    process.kill()
    process.wait()
    wait_for(lambda: all_gone(bench), 5)


def test_who_does_not_know_the_password_is_not_let_in(tmp_path: Path) -> None:
    async def main() -> tuple[bytes, object]:
        async with meet(tmp_path) as meeting:
            file = next(tmp_path.glob(".meeting-*"))
            assert file.stat().st_mode & 0o777 == 0o600
            place = json.loads(file.read_text())
            reader, writer = await asyncio.open_connection("127.0.0.1", place["port"])
            writer.write(b'{"event": "hello", "rank": 0, "pid": 1, "password": "guess"}\n')
            return await reader.read(), await meeting.next(0.1)

    assert asyncio.run(main()) == (b"", None)
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_is_silent_is_named(bench: Bench) -> None:
    passes, more = flow(bench, hang_rank=0)
    environment = {**os.environ, "OLIVE_LIKE_SILENCE_SECONDS": "4"}
    process = bench.start(bench.file(passes, **more), "--json", env=environment)
    wait_for(lambda: len(list((bench.root / "pids").glob("*"))) == 3)
    os.kill(int((bench.root / "pids" / "1").read_text()), signal.SIGSTOP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    (told,) = json.loads(out)["passes"]
    assert told["error"]["message"] == "rank 1 gave no sign of life for 4 s"
    assert all_gone(bench)
