"""What a person sees of a run."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from olive_like.engine import progress
from olive_like.engine.progress import Pace, describe, running_line
from olive_like.engine.summary import duration, metric, size, summarise
from tests.engine.conftest import COMMAND, Bench

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(file: Path, **environment: str) -> str:
    """All that a run writes to a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    process = subprocess.Popen([*COMMAND, "run", str(file)], stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 1 << 16)
        except OSError:  # the terminal was closed by the other side
            break
    assert process.stdout is not None
    process.stdout.read()
    assert process.wait(60) == 0
    os.close(ours)
    return said.decode()


def test_a_terminal_shows_how_far_a_pass_is(bench: Bench) -> None:
    file = bench.file({"train": {"type": "Null", "seconds": 3}})
    said = on_a_terminal(file)
    assert "train" in said
    assert re.search(r"\d+/12", said)
    assert "left" in said
    assert "train: done in 3" in said
    assert _COLOUR.search(said)


def test_without_colour_where_the_user_wants_none(bench: Bench) -> None:
    file = bench.file({"train": {"type": "Null", "seconds": 1}})
    styles = set(_COLOUR.findall(on_a_terminal(file, NO_COLOR="1")))
    assert not any(re.search(r"\[(?:3|4|9|10)[0-9]", style) for style in styles)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "started", "pass": "a"}, "a: started"),
        ({"event": "done", "pass": "a", "seconds": 75.0}, "a: done in 75.0 s"),
        ({"event": "warning", "text": "look"}, "warning: look"),
        ({"event": "warning", "pass": "a", "text": "look"}, "warning: a: look"),
        ({"event": "progress", "pass": "a", "step": 1}, None),
    ],
)
def test_plain_lines(event: dict, line: str | None) -> None:
    assert describe(event) == line


def test_the_line_of_a_running_pass() -> None:
    event = {"time": 0, "event": "progress", "pass": "a", "step": 5, "total": 20, "loss": 0.51234}
    assert running_line(event, 10.0) == "5/20  loss 0.5123  0.5/s  30.0 s left"


def test_the_pace_of_what_goes_on_is_its_own() -> None:
    """An interrupted training that went on at step 400 has not made 400 steps in a second."""
    event = {"event": "progress", "pass": "a", "total": 600, "memory": 3 << 20}
    pace = Pace(100.0)
    assert pace.line(101.0) == ""
    pace.heard({**event, "step": 410}, 105.0)
    assert pace.line(105.0) == "410/600  memory 3.0 MiB"
    pace.heard({**event, "step": 420}, 110.0)
    assert pace.line(110.0) == "420/600  memory 3.0 MiB  2/s  90.0 s left"


def test_where_there_is_no_terminal_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    view = progress.PlainView()
    view({"event": "started", "pass": "a"})
    for step in range(1, 16):
        now = 10.0 * step
        view({"event": "progress", "pass": "a", "step": step, "total": 20})
    assert capsys.readouterr().err.splitlines() == [
        "a: started",
        "a: 6/20  0.1/s  2 min 20 s left",
        "a: 12/20  0.1/s  80.0 s left",
    ]


def test_numbers_for_people() -> None:
    assert [size(n) for n in (0, 5, 2048, 3 << 30)] == ["", "5 B", "2.0 KiB", "3.0 GiB"]
    assert [duration(s) for s in (0.0123, 5, 125, 7320)] == ["12 ms", "5.0 s", "2 min 05 s", "2 h 02 min"]
    assert metric("latency", {"value": 1.23456, "unit": "ms"}) == "latency=1.235 ms"


def test_a_large_graph_is_not_listed_whole() -> None:
    passes = [
        {
            "name": f"p{n}", "status": "failed" if n == 500 else "ran", "seconds": 1.0, "peak_rss_bytes": 1, "bytes": 1,
            "metrics": {}, "notes": [], "warnings": [],
            "error": {"message": "no", "hint": "", "log": "", "repro": ""} if n == 500 else None,
        }
        for n in range(1000)
    ]  # fmt: skip
    text = summarise({"status": "failed", "run": "r", "seconds": 1.0, "passes": passes, "outputs": {}})
    assert len(text.splitlines()) < 10
    assert "error: p500 failed: no" in text
    assert "999 ran, 1 failed" in text
