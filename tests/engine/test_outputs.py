"""Output folders: whole, copied, and not ours alone."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from olive_like.artifacts import NullArtifact
from olive_like.engine import outputs, placing
from olive_like.engine.outputs import deliver
from olive_like.errors import StoreError, WorkflowError
from tests.engine.conftest import Bench


def artifact(root: Path, name: str, files: dict[str, str]) -> NullArtifact:
    folder = root / "store" / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o444)
    return NullArtifact(folder, digest=name * 64)


def content(folder: Path) -> dict[str, str]:
    return {
        path: (folder / path).read_text()
        for path in placing.files_below(folder)
        if not path.removeprefix(".").startswith(placing.PROVENANCE)
    }


def test_copies_are_the_users_own(tmp_path: Path) -> None:
    made = artifact(tmp_path, "a", {"model.bin": "1", "sub/more.bin": "2"})
    target = tmp_path / "out" / "x"
    output = deliver("x", made, target, {"run": "1"})
    assert content(target) == {"model.bin": "1", "sub/more.bin": "2"}
    assert output.bytes == 2
    for path in ("model.bin", "sub/more.bin"):
        status = (target / path).stat()
        assert status.st_nlink == 1
        assert status.st_ino != (made.path / path).stat().st_ino
        assert not (target / path).is_symlink()
        assert os.access(target / path, os.W_OK)
    assert json.loads((target / "provenance.json").read_text())["artifact"]["digest"] == made.digest


def test_what_another_run_delivered_is_delivered_again(tmp_path: Path) -> None:
    """With a story of its own: an input model may be an output too."""
    first = deliver("x", artifact(tmp_path, "a", {"model.bin": "1"}), tmp_path / "first", {"run": "1"})
    deliver("x", NullArtifact(first.path, digest="b" * 64), tmp_path / "second", {"run": "2"})
    assert content(tmp_path / "second") == {"model.bin": "1"}
    assert json.loads((tmp_path / "second" / "provenance.json").read_text())["run"] == "2"


def test_new_replaces_old_and_leaves_what_is_not_ours(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x"
    deliver("x", artifact(tmp_path, "a", {"old.bin": "1", "both.bin": "1"}), target, {})
    (target / "notes.txt").write_text("mine")
    (target / "sub").mkdir()
    (target / "sub" / "deep.txt").write_text("mine too")
    (target / "link").symlink_to("notes.txt")
    deliver("x", artifact(tmp_path, "b", {"new.bin": "2", "both.bin": "2", "sub/ours.bin": "2"}), target, {})
    assert content(target) == {
        "new.bin": "2", "both.bin": "2", "sub/ours.bin": "2",
        "notes.txt": "mine", "sub/deep.txt": "mine too", "link": "mine",
    }  # fmt: skip
    assert (target / "link").is_symlink()
    assert os.listdir(tmp_path / "out") == ["x"]


def test_what_somebody_else_put_there_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x"
    target.mkdir(parents=True)
    (target / "model.bin").write_text("precious")
    with pytest.raises(StoreError, match="was not put there by olive-like"):
        deliver("x", artifact(tmp_path, "a", {"model.bin": "1"}), target, {})
    assert content(target) == {"model.bin": "precious"}
    assert os.listdir(tmp_path / "out") == ["x"]


def test_an_output_that_is_current_is_not_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = artifact(tmp_path, "a", {"model.bin": "1"})
    target = tmp_path / "out" / "x"
    deliver("x", made, target, {"run": "1", "seed": 0})
    copied = []
    monkeypatch.setattr(outputs, "copy_tree", lambda *a: copied.append(a))
    deliver("x", made, target, {"run": "2", "seed": 0})
    deliver("x", made, target, {"run": "3", "seed": 1})
    assert copied == []
    story = json.loads((target / "provenance.json").read_text())
    assert (story["run"], story["seed"]) == ("3", 1)
    monkeypatch.undo()
    (target / "model.bin").write_text("2")
    deliver("x", made, target, {})
    assert content(target) == {"model.bin": "1"}
    (target / "model.bin").unlink()
    deliver("x", made, target, {})
    assert content(target) == {"model.bin": "1"}


def test_where_folders_cannot_be_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "_exchange", lambda *_: False)
    test_new_replaces_old_and_leaves_what_is_not_ours(tmp_path)


def test_the_current_folder_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "x"
    target.mkdir(parents=True)
    inode = target.stat().st_ino
    monkeypatch.chdir(target)
    test_new_replaces_old_and_leaves_what_is_not_ours(tmp_path)
    assert target.stat().st_ino == inode


def test_a_mount_point_needs_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "x"
    target.mkdir(parents=True)
    monkeypatch.setattr(placing.os.path, "ismount", lambda path: Path(path) == target)
    drafts: list[Path] = []
    monkeypatch.setattr(outputs, "draft_of", lambda path: drafts.append(placing.draft_of(path)) or drafts[-1])
    for number, files in enumerate(({"a": "1", "b": "1"}, {"a": "2"})):
        deliver("x", artifact(tmp_path, f"{number}", files), target, {"run": "1"})
        assert content(target) == files
    assert {draft.parent for draft in drafts} == {target}  # a rename cannot go from one file system to another


def test_a_list_of_files_by_somebody_else_reaches_nothing_outside(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x"
    target.mkdir(parents=True)
    others = [tmp_path / "mine", tmp_path / "out" / "mine"]
    for other in others:
        other.write_text("mine")
    listed = [str(others[0]), "../mine", "sub/../../mine"]
    (target / placing.PROVENANCE).write_text(json.dumps({"files": {name: {} for name in listed}}))
    deliver("x", artifact(tmp_path, "a", {"model.bin": "1"}), target, {"run": "1"})
    assert [other.read_text() for other in others] == ["mine", "mine"]


def test_a_folder_beside_which_nothing_may_be_written_is_refused_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.out / "a").mkdir(parents=True)
    monkeypatch.setattr("olive_like.engine.prepare.os.access", lambda path, _: Path(path) != bench.out)
    with pytest.raises(WorkflowError, match="nothing may be written in"):
        bench.run({"a": {"type": "Null", "fail": True}})


@pytest.mark.parametrize("in_place", [False, True])
def test_cut_off_anywhere_there_is_never_a_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool) -> None:
    """Every call that changes a file system fails in turn; then everything is tried again."""
    calls = [(os, name) for name in ("rename", "replace", "link", "unlink", "open", "mkdir", "rmdir")]
    for stop in range(1, 200):
        root = tmp_path / str(stop)
        target = root / "out" / "x"
        deliver("x", artifact(root, "a", {"one.bin": "1", "two.bin": "1", "gone.bin": "1"}), target, {})
        (target / "notes.txt").write_text("mine")
        new = artifact(root, "b", {"one.bin": "2", "two.bin": "2"})
        if in_place:
            monkeypatch.chdir(target)
        left = [stop]

        class Killed(BaseException):
            pass

        def killed(function, left=left):
            def call(*args, **kwargs):
                if left[0] <= 0:
                    raise Killed  # nothing happens after the kill
                left[0] -= 1
                if not left[0]:
                    raise Killed
                return function(*args, **kwargs)

            return call

        survived = True
        with monkeypatch.context() as patch:
            for module, name in calls:
                patch.setattr(module, name, killed(getattr(module, name)))
            try:
                deliver("x", new, target, {})
            except Killed:
                survived = False
        found = content(target) if target.exists() else {}
        ours = {path: text for path, text in found.items() if path != "notes.txt"}
        whole = ours in ({"one.bin": "1", "two.bin": "1", "gone.bin": "1"}, {"one.bin": "2", "two.bin": "2"})
        story = json.loads((target / "provenance.json").read_text()) if target.exists() else {}
        assert whole or (in_place and story["unfinished"]), (stop, found)
        deliver("x", new, target, {})
        assert content(target) == {"one.bin": "2", "two.bin": "2", "notes.txt": "mine"}
        assert [name for name in os.listdir(root / "out") if not name.endswith("lock")] == ["x"]
        if survived:
            assert stop > 10
            return
    raise AssertionError("it never came to an end")


def test_two_at_a_time_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x"
    made = [artifact(tmp_path, n, {f"{i}.bin": n * 100 for i in range(20)} | {f"only-{n}": n}) for n in "ab"]
    deliver("x", made[0], target, {})
    stop = threading.Event()
    mixes: list[set[str]] = []

    def look() -> None:
        while not stop.is_set():
            folder = os.open(target, os.O_RDONLY)  # one folder, whatever takes its name meanwhile
            names = set(os.listdir(folder))
            os.close(folder)
            if {"only-a", "only-b"} <= names:
                mixes.append(names)

    def write(which: int) -> None:
        for _ in range(20):
            deliver("x", made[which], target, {})

    looker = threading.Thread(target=look)
    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in (looker, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    looker.join()
    assert mixes == []
    assert content(target) in [content(item.path) for item in made]


def test_the_layout_of_olive_puts_one_output_into_the_folder_itself(bench: Bench) -> None:
    result = bench.run({"a": {"type": "Null"}}, {"layout": "olive"})
    assert result.outputs["a"].path == bench.out
    assert (bench.out / "null.bin").is_file()


def test_an_output_that_cannot_be_delivered_fails_the_run_and_no_other_output(bench: Bench) -> None:
    passes = {n: {"type": "Null", "value": n, "input": "input_model"} for n in ("a", "b")}
    (bench.out / "a").mkdir(parents=True)
    (bench.out / "a" / "null.bin").write_text("precious")
    result = bench.run(passes)
    assert result.status == "failed"
    assert list(result.outputs) == ["b"]
    assert result.errors[0]["output"] == "a"
    assert (bench.out / "a" / "null.bin").read_text() == "precious"
    with pytest.raises(StoreError, match="was not put there"):
        result.raise_for_status()
    (bench.out / "a" / "null.bin").unlink()
    again = bench.run(passes)
    assert again.ok
    assert {item.status for item in again.passes.values()} == {"hit"}


def test_the_input_model_is_handed_out_beside_results_and_not_in_their_stead(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(tmp_path / "base")},
        "outputs": {"made": "a", "base": "input_model"},
    }
    failed = bench.run({"a": {"type": "Null", "fail": True}}, flow)
    assert failed.status == "failed"
    assert not bench.out.exists() or os.listdir(bench.out) == []
    assert set(bench.run({"a": {"type": "Null"}}, flow).outputs) == {"made", "base"}


def test_gc_leaves_what_an_output_refers_to(bench: Bench) -> None:
    from olive_like.store import Store

    result = bench.run({"a": {"type": "Null"}, "b": {"type": "Null", "bytes": 5}})
    with Store(bench.cache) as store:
        store.gc(max_size=0)
        assert store.fetch(result.passes["b"].key) is not None
        assert store.fetch(result.passes["a"].key) is None


def test_provenance_tells_the_whole_story(bench: Bench) -> None:
    passes = {"a": {"type": "Null"}, "b": {"type": "Null", "bytes": 5}}
    result = bench.run(passes, {"outputs": {"best": "b"}, "seed": 7})
    story = json.loads((bench.out / "best" / "provenance.json").read_text())
    assert story["run"] == result.run_id
    assert story["seed"] == 7
    assert list(story["passes"]) == ["a", "b"]
    assert story["passes"]["b"]["key"] == result.passes["b"].key
    assert story["passes"]["b"]["document"]["settings"]["bytes"] == 5
    assert story["passes"]["b"]["document"]["inputs"][0]["digest"] == result.passes["a"].digest
    assert story["workflow"]["content"]["passes"]["b"]["bytes"] == 5
    assert story["files"]["null.bin"]["bytes"] == 5
