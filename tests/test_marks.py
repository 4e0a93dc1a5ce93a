"""What of a pass's settings goes into its key."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from olive_like.canonical import digest
from olive_like.marks import FilesAmongMark, LocalPath, NotInKey, Options, marked_files, semantic


class Settings(BaseModel):
    either: dict[str, Any] | LocalPath | None = None
    plain: int = 1
    unimportant: Annotated[int, NotInKey()] = 0


def test_settings_in_the_place_of_a_file_go_into_the_key() -> None:
    two, three = Settings(either={"stage": 2}), Settings(either={"stage": 3})
    assert semantic(two) == {"either": {"stage": 2}, "plain": 1}
    assert semantic(two) != semantic(three)
    assert list(marked_files(two)) == []


def test_a_file_goes_into_the_key_by_its_content() -> None:
    named = Settings(either=Path("/folder/stage.json"))
    assert semantic(named) == {"plain": 1} == semantic(Settings())
    assert [(file.field, file.path) for file in marked_files(named)] == [("either", Path("/folder/stage.json"))]


def test_what_cannot_change_a_result_stays_out() -> None:
    assert semantic(Settings(unimportant=3)) == semantic(Settings())


class Several(BaseModel):
    files: list[LocalPath] = []
    named: dict[str, LocalPath] | None = None
    anything: dict[Any, Any] | None = None


def test_several_files_go_into_the_key_by_their_content() -> None:
    settings = Several(files=[Path("/a"), Path("/b")], named={"x": Path("/c")})
    assert [file.field for file in marked_files(settings)] == ["files[0]", "files[1]", "named.x"]
    assert digest(semantic(settings)) == digest({"anything": None})


def test_a_number_and_its_digits_are_two_names() -> None:
    assert semantic(Several(anything={1: 2})) != semantic(Several(anything={"1": 2}))
    assert digest(semantic(Several(anything={1: 2, "1": 3})))


class Beside(BaseModel):
    log: Annotated[LocalPath | None, NotInKey()] = None
    more: Annotated[Several | None, NotInKey()] = None


def test_files_of_what_cannot_change_a_result_count_no_more_than_it_does() -> None:
    settings = Beside(log=Path("/log"), more=Several(files=[Path("/a")]))
    assert [(file.field, file.in_key) for file in marked_files(settings)] == [("log", False), ("more.files[0]", False)]
    assert semantic(settings) == {}
    assert all(file.in_key for file in marked_files(Several(files=[Path("/a")])))


class HandedOn(BaseModel):
    options: Annotated[Options | None, FilesAmongMark()] = None


def test_of_free_options_what_is_there_counts_by_its_content_and_all_else_as_text(tmp_path: Path) -> None:
    (tmp_path / "scales.json").touch()
    (tmp_path / "adapter").mkdir()
    written = {
        "adapter_path": "adapter",
        "scale_file": "scales.json",
        "other": str(tmp_path / "scales.json"),
        "filename": "scales.json",
        "kind": "adapter",
        "skip": "/model/layers.0",
        "absent_path": "nowhere",
        "more": {"deep": True},
    }
    settings = HandedOn.model_validate({"options": written}, context={"base_dir": tmp_path})
    assert [(file.field, file.path.name) for file in marked_files(settings)] == [
        ("options.adapter_path", "adapter"),
        ("options.scale_file", "scales.json"),
        ("options.other", "scales.json"),
    ]
    found = {"adapter_path": "", "scale_file": "", "other": ""}
    assert semantic(settings) == {"options": {**written, **found}}
    assert semantic(HandedOn.model_validate_json(settings.model_dump_json())) == semantic(settings)  # as a worker reads
