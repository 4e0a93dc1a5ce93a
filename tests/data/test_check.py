"""`data check` finds what is wrong by line; `data show` marks what is learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olive_like.cli import main
from tests.tiny_models import tiny_bert, tiny_llama

GOOD = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()  # what making a model has printed
    code = main(["data", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_every_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(
        tmp_path / "chat.jsonl",
        GOOD,
        '{"messages": [',
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"other": 1},
        GOOD,
    )
    code, out = run(capsys, "check", file, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["errors"] == 6
    assert report["duplicates"] == 1
    found = {problem["line"]: problem["message"] for problem in report["problems"]}
    for line, words in {
        2: "bad JSON",
        3: "message 1 has no role",
        4: "unknown role 'robot'",
        5: "message 1 (user) is empty",
        6: "no message of the assistant",
        7: "the column 'messages' is missing",
        8: "the same as chat.jsonl:1",
    }.items():
        assert words in found[line]


def test_leaks_and_balance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    rows = [{"text": f"film {i}", "label": "bad" if i == 0 else "good"} for i in range(30)]
    lines(folder / "train.jsonl", *rows)
    lines(folder / "test.jsonl", rows[3], {"text": "new", "label": "odd"})
    code, out = run(capsys, "check", folder, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["rows"] == {"test": 2, "train": 30}
    assert report["leaks"] == 1
    assert report["classes"]["train"] == {"good": 29, "bad": 1}
    assert any("rare classes: bad" in note for note in report["notes"])
    assert any("test has classes that train has not: odd" in note for note in report["notes"])
    other = lines(tmp_path / "held.jsonl", rows[5])
    assert json.loads(run(capsys, "check", folder / "train.jsonl", "--eval", other, "--json")[1])["leaks"] == 1


def test_words_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(tmp_path / "a.jsonl", {"prompt": "a", "completion": "b"}, "nope")
    code, out = run(capsys, "check", file)
    assert code == 1
    assert "rows are prompt_completion by their columns" in out
    assert "a.jsonl:2: error: bad JSON" in out


def test_a_missing_file_and_an_unknown_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path / "no.jsonl")]) == 2
    assert main(["data", "check", str(lines(tmp_path / "a.jsonl", {"foo": 1}))]) == 1
    assert "their columns are: foo" in capsys.readouterr().err


@pytest.mark.heavy
def test_tokens_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_bert(tmp_path / "bert", labels=None)
    file = lines(tmp_path / "a.jsonl", *[{"text": "film " * n, "label": n % 2} for n in range(1, 21)])
    code, out = run(capsys, "check", file, "--model", model.path, "--max_seq_len", 12, "--batch_size", 4, "--json")
    tokens = json.loads(out)["tokens"]
    assert code == 0
    assert (tokens["min"], tokens["median"], tokens["p95"], tokens["max"]) == (3, 13, 22, 22)
    assert tokens["cut_examples"] == 10
    assert tokens["cut_tokens"] == sum(range(1, 11))
    assert tokens["trained_per_epoch"] == tokens["per_epoch"]
    assert tokens["steps"] == 5
    assert tokens["seconds"] >= 0


@pytest.mark.heavy
def test_show_marks_what_is_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_llama(tmp_path / "llama")
    code, out = run(capsys, "show", lines(tmp_path / "a.jsonl", GOOD), "--model", model.path)
    assert code == 0
    assert "<|im_start|>assistant\n⟦hello<|im_end|>⟧\n" in out
    pieces = json.loads(run(capsys, "show", tmp_path / "a.jsonl", "--model", model.path, "--json")[1])
    assert [piece["text"] for piece in pieces[0] if piece["learnt"]] == ["hello<|im_end|>"]
    pairs = lines(tmp_path / "p.jsonl", {"prompt": "ask", "chosen": " yes", "rejected": " no"})
    shown = run(capsys, "show", pairs, "--model", model.path)[1]
    assert "ask\n[chosen] ⟦ yes<|im_end|>⟧\n[rejected] ⟦ no<|im_end|>⟧" in shown
    out = run(capsys, "check", pairs, "--model", model.path, "--max_seq_len", "4", "--json")[1]
    tokens = json.loads(out)["tokens"]
    from olive_like.data._check_tokens import open_tokenizer

    sizes = [len(open_tokenizer(str(model.path))(text)["input_ids"]) for text in ("ask", " yes", " no")]
    texts = [sizes[0] + size + 1 for size in sizes[1:]]  # each answer has its end marker
    assert tokens["max"] == max(texts)
    assert tokens["per_epoch"] == sum(min(4, text) for text in texts)
    assert tokens["cut_tokens"] == sum(texts) - tokens["per_epoch"]


def test_flags_that_mean_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(tmp_path / "a.jsonl", GOOD)
    for flags, words in (
        (["--shape", "chatt"], "Did you mean `chat`?"),
        (["--max-seq-len", "0"], "`max_seq_len` takes at least 1, not 0"),
        (["--columns", "messages"], "is not NAME=VALUE"),
        (["--eval", tmp_path / "none.jsonl"], "there is no file"),
    ):
        assert main(["data", "check", str(file), *map(str, flags)]) != 0
        assert words in capsys.readouterr().err
    assert run(capsys, "check", file, "--columns", "messages=messages")[0] == 0


def test_a_file_that_is_none_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    lines(folder / "a.jsonl", GOOD, "nope")
    (folder / "b.csv").write_text("x,x\n1,2\n")
    (folder / "c.jsonl").touch()
    code, out = run(capsys, "check", folder)
    assert code == 1
    assert [line.split(":")[0] for line in out.splitlines() if ": error: " in line] == ["a.jsonl", "b.csv", "c.jsonl"]


def test_an_answer_that_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(tmp_path / "a.jsonl", {"instruction": "a", "output": "b"}, {"instruction": "a", "output": " "})
    assert "a.jsonl:2: error: the text to learn is empty" in run(capsys, "check", file)[1]
    file = lines(
        tmp_path / "b.jsonl",
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "", "rejected": "c"},
    )
    assert "b.jsonl:2: error: chosen is empty" in run(capsys, "check", file)[1]
