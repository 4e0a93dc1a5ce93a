"""Files that would crash, stall or fill the machine, or run something."""

from __future__ import annotations

import os
import resource
import time

import pytest

from olive_like.workflow.loader import load
from olive_like.workflow.read import read

pytestmark = pytest.mark.timeout(60)


def refused(path, code: str):
    """The one problem of a file that is refused, and how long that took."""
    start = time.process_time()
    result = read(path)
    seconds = time.process_time() - start
    assert result.workflow is None
    errors = [d for d in result.diagnostics if d.severity == "error"]
    assert code in [d.code for d in errors]
    assert len(errors) <= 3
    assert all(d.file == str(path) for d in errors)
    assert seconds < 20
    return next(d for d in errors if d.code == code)


def write(tmp_path, content, name="w.yaml"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_tags_build_nothing(tmp_path):
    marker = tmp_path / "was-here"
    problem = refused(write(tmp_path, f"a: !!python/object/apply:os.system ['touch {marker}']"), "OL007")
    assert "python/object/apply:os.system" in problem.message
    assert not marker.exists()


def test_an_alias_bomb(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = refused(write(tmp_path, "\n".join(lines)), "OL003")
    assert "aliases" in problem.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000, "less than a gigabyte"


def test_a_merge_bomb(tmp_path):
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(9)) + "}"]
    for i in range(1, 30):
        lines.append(f"a{i}: &a{i}")
        lines += [f"  k{j}: *a{i - 1}" for j in range(9)]
    refused(write(tmp_path, "\n".join(lines)), "OL003")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
@pytest.mark.parametrize("depth", [101, 10_000, 1_000_000])
def test_deep_yaml(tmp_path, opening, depth):
    refused(write(tmp_path, "a:\n " + opening * depth), "OL003")


@pytest.mark.parametrize("opening", ["[", '{"a": '])
@pytest.mark.parametrize("depth", [101, 10_000, 1_000_000])
def test_deep_json(tmp_path, opening, depth):
    refused(write(tmp_path, opening * depth, "w.json"), "OL003")


def test_deep_through_aliases(tmp_path):
    deep = "[" * 60 + "]" * 60
    refused(write(tmp_path, f"a: &a {deep}\nb: {'[' * 50}*a{']' * 50}"), "OL003")


@pytest.mark.parametrize("filling", [b"a", b"[", b"- ", b"a: 1\n", b"\n", b"#", b'"'])
def test_fifty_megabytes(tmp_path, filling):
    problem = refused(write(tmp_path, filling * (50_000_000 // len(filling))), "OL003")
    assert "MiB" in problem.message


@pytest.mark.parametrize("filling", ["[", "- ", "{", "a: ", "? ", "&a ", "*a ", "!", "'", "[a, ", "|\n", "%", "-\n"])
def test_a_megabyte_of_one_thing(tmp_path, filling):
    start = time.process_time()
    result = load(write(tmp_path, filling * (1_000_000 // len(filling))))
    assert result.diagnostics
    assert time.process_time() - start < 20


def test_many_values(tmp_path):
    refused(write(tmp_path, "a: [" + "1," * 600_000 + "]"), "OL003")


@pytest.mark.parametrize("name", ["w.yaml", "w.json"])
@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x7f"])
def test_control_characters(tmp_path, name, character):
    problem = refused(write(tmp_path, '{"a":\n "b' + character + '"}', name), "OL002")
    assert (problem.line, problem.column) == (2, 4)


def test_a_byte_order_mark_is_fine(tmp_path):
    for name in ("w.yaml", "w.json"):
        path = write(tmp_path, b'\xef\xbb\xbf{"passes": {"a": {"type": "Null"}}, "seeed": 1}', name)
        (problem,) = read(path).diagnostics
        assert (problem.code, problem.line, problem.column) == ("OL101", 1, 37)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [(b"a: 1\nb: caf\xe9\n", 2, 7), (b"\xff\xfea\x00", 1, 1), ("ä: 1\nb: ü".encode() + b"\x80", 2, 5)],
)
def test_other_encodings(tmp_path, content, line, column):
    problem = refused(write(tmp_path, content), "OL002")
    assert (problem.line, problem.column) == (line, column)
    assert "UTF-8" in problem.hint


def test_windows_line_ends_are_fine(tmp_path):
    path = write(tmp_path, "passes:\r\n  a:\r\n    type: Null\r\n    byts: 3\r\n")
    (problem,) = read(path).diagnostics
    assert (problem.line, problem.column) == (4, 5)


def test_what_is_no_file(tmp_path):
    refused(tmp_path / "nothing.yaml", "OL001")
    refused(tmp_path, "OL001")
    (tmp_path / "closed.yaml").write_text("a: 1")
    (tmp_path / "closed.yaml").chmod(0)
    if os.geteuid() != 0:
        refused(tmp_path / "closed.yaml", "OL001")
    assert read("\0").diagnostics[0].code == "OL001"


@pytest.mark.parametrize(
    ("place", "workflow"),
    [
        (("passes", "a", "type"), {"passes": {"a": {"type": "os.system"}}}),
        (("passes", "a", "type"), {"passes": {"a": {"type": "os:system"}}}),
        (("passes", "a", "type"), {"passes": {"a": {"type": "olive_like.passes.pretend.null:Null"}}}),
        (("systems", "a", "type"), {"systems": {"a": {"type": "subprocess.Popen"}}, "passes": {}}),
        (("input_model", "type"), {"input_model": {"type": "builtins.eval"}, "passes": {}}),
    ],
)
def test_code_is_not_named_by_its_place(place, workflow):
    (problem,) = [d for d in read(workflow).diagnostics if d.severity == "error"]
    assert problem.code == "OL114"
    assert problem.field == ".".join(place)


def test_a_dotted_name_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("import pathlib; pathlib.Path('was-here').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("evil_module.run", "evil_module:run", "evil_module"):
        assert read({"passes": {"a": {"type": kind}}}).workflow is None
        assert read({"passes": {}, "systems": {"a": {"type": kind}}}).workflow is None
    assert not (tmp_path / "was-here").exists()
