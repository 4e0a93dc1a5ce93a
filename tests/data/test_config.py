"""What a data config says about files, and what of it goes into the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from olive_like.data.config import DataConfig, local_files
from olive_like.marks import marked_files, semantic


def config(base: Path, **settings: object) -> DataConfig:
    return DataConfig.model_validate(settings, context={"base_dir": base})


def test_a_hub_name_stays_a_name(tmp_path: Path) -> None:
    found = config(tmp_path, source="glue", subset="mrpc")
    assert found.source == "glue"
    assert list(marked_files(found)) == []
    assert semantic(found)["source"] == "glue"


def test_a_local_folder_comes_before_the_hub(tmp_path: Path) -> None:
    (tmp_path / "owner" / "set").mkdir(parents=True)
    found = config(tmp_path, source="owner/set")
    assert [file.path for file in marked_files(found)] == [tmp_path / "owner" / "set"]


def test_what_looks_like_a_file_is_one_even_when_it_is_missing(tmp_path: Path) -> None:
    assert [f.path for f in marked_files(config(tmp_path, source="rows.jsonl"))] == [tmp_path / "rows.jsonl"]


def test_where_a_file_lies_is_not_in_the_key(tmp_path: Path) -> None:
    keys = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text("{}")
        keys.append(semantic(config(tmp_path / folder, source="rows.jsonl", files={"train": "rows.jsonl"})))
    assert keys[0] == keys[1]


def test_patterns_become_files_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).write_text("x")
    assert local_files(config(tmp_path, files="*.json")) == [tmp_path / "a.json", tmp_path / "b.json"]


def test_the_name_is_not_in_the_key_and_the_shape_is() -> None:
    assert semantic(DataConfig(name="a")) == semantic(DataConfig(name="b"))
    assert semantic(DataConfig(shape="text")) != semantic(DataConfig(shape="chat"))


def test_olives_names_are_understood() -> None:
    found = DataConfig.model_validate({"data_name": "glue", "label_col": "label", "max_length": 128, "input_cols": "a"})
    assert (found.source, found.label_cols, found.max_seq_len, found.input_cols) == ("glue", ["label"], 128, ["a"])


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate({"sorce": "x"})
