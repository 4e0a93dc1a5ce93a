"""Builds become branches of one graph."""

from __future__ import annotations

from tests.dialects.reading import Read, codes

PASSES = "passes: {a: {type: 'Null'}, b: {type: 'Null'}, c: {type: 'Null'}}\n"


def test_a_common_beginning_is_shared(read: Read) -> None:
    tree, said = read(PASSES + "builds: {x: {pipeline: [a, b]}, y: {pipeline: [a, c]}, z: {pipeline: [c]}}")
    assert {name: step["input"] for name, step in tree["passes"].items()} == {
        "a": "input_model",
        "b": "a",
        "c": "a",
        "c_z": "input_model",
    }
    assert tree["outputs"] == {"x": "b", "y": "c", "z": "c_z"}
    assert "builds" not in tree
    assert not said


def test_defaults_host_and_evaluator(read: Read) -> None:
    tree, _ = read(
        PASSES
        + "builds: {_default: {evaluator: e}, x: {pipeline: [a, b], host: h}, y: {pipeline: [a, c], evaluator: f}}"
    )
    passes = tree["passes"]
    assert passes["a"] == {"type": "Null", "input": "input_model", "system": "h"}
    assert passes["b"] == {"type": "Null", "input": "a", "system": "h", "evaluator": "e"}
    assert passes["a_y"] == {"type": "Null", "input": "input_model"}
    assert passes["c"] == {"type": "Null", "input": "a_y", "evaluator": "f"}


def test_a_pass_in_no_build_is_said(read: Read) -> None:
    tree, said = read(PASSES + "builds: {x: {pipeline: [a, b]}}")
    assert list(tree["passes"]) == ["a", "b"]
    assert codes(said) == ["OL350"]
    assert "c" in said[0].message


def test_mistakes_are_named(read: Read) -> None:
    _, said = read(
        PASSES + "builds:\n  x: {pipeline: [a, d, b, c]}\n  y: {}\n  z: {pipeline: [a, b, c], components: [p]}\n"
    )
    found = [(d.code, d.line) for d in said if d.code == "OL309"]
    assert found == [("OL309", 3), ("OL309", 4), ("OL309", 5)]


def test_host_and_target_of_a_build(read: Read) -> None:
    tree, said = read(PASSES + "builds:\n  x: {pipeline: [a, b, c], host: h, target: {type: LocalSystem}}\n")
    assert {step["system"] for step in tree["passes"].values()} == {"h"}
    assert [(d.code, d.line) for d in said] == [("OL352", 3)]


def test_a_system_in_place(read: Read) -> None:
    tree, said = read(PASSES + "builds: {x: {pipeline: [a, b, c], target: {type: LocalSystem}}}")
    assert tree["systems"] == {"x": {"type": "LocalSystem"}}
    assert tree["passes"]["a"]["system"] == "x"
    assert not said


def test_a_build_that_is_no_mapping_is_named(read: Read) -> None:
    _, said = read(PASSES + "builds:\n  x: [a, b, c]\n")
    assert [(d.code, d.line) for d in said if d.code == "OL309"] == [("OL309", 3)]


def test_names_of_steps_do_not_meet(read: Read) -> None:
    passes = "passes: {a: {type: 'Null'}, a_y: {type: 'Null'}}\n"
    tree, _ = read(passes + "builds: {x: {pipeline: [a]}, y: {pipeline: [a_y, a, a]}}")
    assert {name: step["input"] for name, step in tree["passes"].items()} == {
        "a": "input_model",
        "a_y": "input_model",
        "a_y_": "a_y",
        "a_y__": "a_y_",
    }
