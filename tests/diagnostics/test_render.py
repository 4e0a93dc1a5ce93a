"""Diagnostics as text."""

from __future__ import annotations

import io

from olive_like.diagnostics import Diagnostic, Severity
from olive_like.diagnostics.render import render, summary


def test_the_line_with_a_caret(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text("a: 1\nbb: [x, yes]\n")
    d = Diagnostic("OL008", "two meanings", Severity.ERROR, str(file), 2, 9, "Quote it.", length=3)
    assert render([d], colour=False) == (
        "error[OL008]: two meanings\n"
        f" --> {file}:2:9\n"
        "2 | bb: [x, yes]\n"
        "  |         ^^^\n"
        "  = Quote it.\n"
        "\n"
        "1 error; `olive-like explain OL008` says more"
    )


def test_tabs_wide_lines_and_a_caret_past_the_end(tmp_path):
    file = tmp_path / "w.json"
    file.write_text("\t\tx\n" + "a" * 300 + "NEEDLE" + "b" * 300 + "\nshort\n")
    one, two, three = (
        Diagnostic("OL004", "m", Severity.ERROR, str(file), *place) for place in [(1, 3), (2, 301), (3, 9)]
    )
    lines = render([one], colour=False).splitlines()
    assert (lines[2], lines[3]) == ("1 |   x", "  |   ^")
    lines = render([two], colour=False).splitlines()
    assert lines[2][lines[3].index("^") :].startswith("NEEDLE")
    assert len(lines[2]) < 180
    assert lines[2].startswith("2 | … ")
    lines = render([three], colour=False).splitlines()
    assert lines[3] == "  |         ^"


def test_what_speaks_to_the_terminal_is_taken_out(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text('a: "\x1b[31mred\u202e"\n')
    text = render([Diagnostic("OL002", "m", Severity.ERROR, str(file), 1, 1)], colour=False)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_secrets_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    file = tmp_path / "w.yaml"
    file.write_text(f"token: hf_abcdefghijkl\nurl: https://me:pw123@host/x\nother: hf_{'Z' * 30}\n")
    diagnostics = [
        Diagnostic(
            "OL101", "unknown hf_abcdefghijkl", Severity.ERROR, str(file), 1, 1, "not hf_abcdefghijkl", length=5
        ),
        Diagnostic("OL101", "m", Severity.ERROR, str(file), 2, 1, length=3),
        Diagnostic("OL101", "m", Severity.ERROR, str(file), 3, 1, length=3),
    ]
    text = render(diagnostics, colour=False)
    assert "hf_abc" not in text
    assert "pw123" not in text
    assert "ZZZ" not in text


def test_without_a_file_there_is_the_field():
    text = render([Diagnostic("OL101", "unknown key", field="passes.a.x")], colour=False)
    assert text.splitlines()[1].strip() == "--> `passes.a.x`"


def test_a_file_that_is_gone_costs_only_the_excerpt():
    text = render([Diagnostic("OL001", "cannot read", Severity.ERROR, "/no/where.yaml", 3, 4)], colour=False)
    assert text.splitlines()[:2] == ["error[OL001]: cannot read", " --> /no/where.yaml:3:4"]


def test_colours_only_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    d = [Diagnostic("OL101", "m")]
    assert "\x1b[" in render(d, stream=Terminal())
    assert "\x1b[" not in render(d, stream=io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in render(d, stream=Terminal())


def test_summary():
    kinds = [Severity.WARNING, Severity.ERROR, Severity.NOTE, Severity.ERROR]
    diagnostics = [Diagnostic(f"OL10{i}", "m", kind) for i, kind in enumerate(kinds)]
    assert summary(diagnostics) == "2 errors, 1 warning, 1 note; `olive-like explain OL101` says more"
    assert summary(diagnostics[:1]) == "1 warning"
    assert render([]) == ""
