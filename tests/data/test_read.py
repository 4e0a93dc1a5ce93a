"""Rows from files, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from olive_like.data.config import DataConfig, ImageData
from olive_like.data.errors import DataError
from olive_like.data.load import load
from olive_like.data.read import BadLine, read, rows_of

ROWS = [{"a": 1, "b": "x\u2028y"}, {"a": 2, "b": "z"}]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_lines_and_array_and_byte_order_mark(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.jsonl", "\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS))
    array = write(tmp_path / "a.json", "\ufeff" + json.dumps(ROWS, indent=2))
    assert rows_of(lines) == rows_of(array) == ROWS


def test_csv_and_tsv_and_text(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path / "a.csv", 'a,b\n1,"x\ny"\n2,z\n')) == [{"a": "1", "b": "x\ny"}, {"a": "2", "b": "z"}]
    assert rows_of(write(tmp_path / "a.tsv", "a\tb\n1\t2\n")) == [{"a": "1", "b": "2"}]
    assert rows_of(write(tmp_path / "a.txt", "one\n\ntwo\r\n")) == [{"text": "one"}, {"text": "two"}]
    whole = "a page\x0cbreak and a\u2028separator"
    assert rows_of(write(tmp_path / "b.csv", f"a\n{whole}\n")) == [{"a": whole}]
    assert rows_of(write(tmp_path / "b.txt", f"{whole}\n")) == [{"text": whole}]


def test_parquet_and_arrow(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "a.arrow")
    assert rows_of(tmp_path / "a.parquet") == rows_of(tmp_path / "a.arrow") == ROWS


def test_one_bad_line_in_ten_thousand(tmp_path: Path) -> None:
    lines = ['{"a": 1}'] * 10_000
    lines[6_789] = '{"a": 1'
    file = write(tmp_path / "rows.jsonl", "\n".join(lines))
    with pytest.raises(DataError, match=r"rows\.jsonl:6790: bad JSON") as caught:
        rows_of(file)
    assert "other 9,999 rows are fine" in caught.value.hint


def test_all_bad_lines_are_found(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", '{"a": 1}\nnope\n[1]\n{"a": 2}\n"text"\n')
    bad = [item for item in read(file) if isinstance(item, BadLine)]
    assert [(item.line, item.problem.partition(":")[0]) for item in bad] == [
        (2, "bad JSON"),
        (3, "a row is a mapping of columns, this is a list"),
        (5, "a row is a mapping of columns, this is text"),
    ]


def test_a_bad_element_of_an_array_has_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.json", '[\n  {"a": 1},\n  {"a": },\n  {"a": 3}\n]\n')
    with pytest.raises(DataError, match=r"rows\.json:3: bad JSON"):
        rows_of(file)
    with pytest.raises(DataError, match=r":2: bad JSON: the array has no end"):
        rows_of(write(tmp_path / "cut.json", '[{"a": 1},\n'))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\n\n", "has no rows"),
        ("a.json", "[]", "has no rows"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "a,b\n1\n", "1 cell where the header has 2"),
        ("a.xyz", "x", "no known format"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(write(tmp_path / name, text))


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not UTF-8 at byte 7"):
        rows_of(tmp_path / "a.jsonl")


def test_a_missing_file_and_a_wrong_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        rows_of(tmp_path / "a.json")
    with pytest.raises(DataError, match="not readable as parquet"):
        rows_of(write(tmp_path / "a.parquet", "x"))


def test_a_folder_with_splits(tmp_path: Path) -> None:
    write(tmp_path / "train-00000.jsonl", '{"a": 1}\n{"a": 2}')
    write(tmp_path / "train-00001.jsonl", '{"a": 3}')
    write(tmp_path / "test.jsonl", '{"a": 9}')
    write(tmp_path / "README.md", "# about")
    found = load(DataConfig(source=str(tmp_path), eval_split="test"))
    assert ([r["a"] for r in found.train], [r["a"] for r in found.eval]) == ([1, 2, 3], [9])
    with pytest.raises(DataError, match="no split 'dev'; there are: test, train"):
        load(DataConfig(source=str(tmp_path), split="dev"))


def test_files_by_split(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", '{"a": 1}')
    write(tmp_path / "y.jsonl", '{"a": 2}')
    found = load(
        DataConfig(files={"train": str(tmp_path / "x.jsonl"), "val": [str(tmp_path / "y.jsonl")]}, eval_split="val")
    )
    assert (found.train, found.eval) == ([{"a": 1}], [{"a": 2}])


def test_a_saved_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "saved"))
    assert load(DataConfig(source=str(tmp_path / "saved"))).train == ROWS


def test_a_users_loader_and_its_errors(tmp_path: Path) -> None:
    script = write(tmp_path / "mine.py", "def rows(n):\n    return [{'a': 1 // (2 - i)} for i in range(n)]\n")
    good = DataConfig(user_script=script, load_function="rows", load_params={"n": 2})
    assert load(good).train == [{"a": 0}, {"a": 1}]
    with pytest.raises(DataError, match=r"rows failed at mine\.py:2.*ZeroDivisionError"):
        load(DataConfig(user_script=script, load_function="rows", load_params={"n": 3}))
    with pytest.raises(Exception, match="has no function 'other'; it has: rows"):
        load(DataConfig(user_script=script, load_function="other"))


def test_scripts_of_two_folders_have_helpers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "one"))  # as the folder is in which Python was started
    configs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "helper_of_scripts.py", f"NAME = {name!r}\n")
        write(tmp_path / name / "late_helper.py", "ROWS = 2\n")
        lines = "from helper_of_scripts import NAME\n\ndef rows():\n    import late_helper\n"
        script = write(tmp_path / name / "mine.py", lines + "    return [{'a': NAME}] * late_helper.ROWS\n")
        configs.append(DataConfig(user_script=script, load_function="rows"))
    found = [load(config).train for config in (*configs, configs[0])]
    assert found == [[{"a": name}] * 2 for name in ("one", "two", "one")]


def test_a_licence_among_pictures_is_no_data(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    write(tmp_path / "LICENSE.txt", "Do as you like.\n")
    text = DataConfig.model_validate({"source": str(tmp_path)})
    assert load(text).train == [{"text": "Do as you like."}]
    asked = text.model_copy(update={"image": ImageData()})
    for found in (load(text, pictures=True), load(asked)):
        assert [row["label"] for row in found.train] == ["cat", "dog"]
    write(tmp_path / "rows.csv", "image,label\ncat/1.png,cat\n")
    assert len(load(text, pictures=True).train) == 2


def test_pictures_of_two_splits(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "val/dog"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "test_1.png").write_bytes(b"")
    found = load(DataConfig(source=str(tmp_path), eval_split="validation"))
    assert [[row["label"] for row in rows] for rows in (found.train, found.eval)] == [["cat", "dog"], ["dog"]]
    (tmp_path / "train" / "test_2.png").write_bytes(b"")  # a train, then
    assert len(load(DataConfig(source=str(tmp_path))).train) == 4


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{"a": 1}\n{"a": 1, "a": 2}\n', 2, "the key 'a' stands there twice"),
        ('[{"a": 1},\n {"b": {"a": 1, "a": 2}}]', 2, "the key 'a' stands there twice; nothing after it can be read"),
        ('{"a": "\\ud83d\\ude00"}\n{"a": "x \\ud83d y"}\n', 2, r"\ud83d is half a character"),
        ('[{"a": 1}]\n[{"a": 2}]\n', 1, "the array ends here; nothing after it can be read"),
        ('{\n "data": [{"a": 1}]\n}\n', 1, "the rows may be what 'data' holds"),
    ],
)
def test_json_that_would_lose_something(tmp_path: Path, text: str, line: int, problem: str) -> None:
    bad = [item for item in read(write(tmp_path / "a.jsonl", text)) if isinstance(item, BadLine)]
    assert [item.line for item in bad] == [line]
    assert problem in bad[0].problem


def test_objects_over_several_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", "\n".join(json.dumps(row, indent=1) for row in ROWS))
    found = list(read(file))
    assert [(item.row, item.line) for item in found if not isinstance(item, BadLine)] == [(ROWS[0], 1), (ROWS[1], 5)]


def test_packed_files(tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(b"a\n3\n"))
    assert rows_of(packed) == [{"a": 1}, {"a": 2}]
    assert load(DataConfig(source=str(tmp_path), eval_split="test")).eval == [{"a": "3"}]
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be unpacked"):
        rows_of(packed)


def test_csv_that_would_lose_something(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns 'a'"):
        rows_of(write(tmp_path / "a.csv", "a,a,b\n1,2,3\n"))
    bad = list(read(write(tmp_path / "b.csv", 'a,b\n1,"x\ny"\n1,2,3\n"z,1\n')))
    assert [item.line for item in bad] == [2, 4, 5]
    assert isinstance(bad[2], BadLine)
    assert "a quote is not closed" in bad[2].problem
