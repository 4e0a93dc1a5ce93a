"""Strategies, and settings that are left open."""

from __future__ import annotations

import pytest

from tests.dialects.reading import Read, codes

PASSES = "passes: {r: {type: Rtn, bits: {choice: [4, 8]}}}\n"


@pytest.mark.parametrize("value", ["false", "null"])
def test_no_search(read: Read, value: str) -> None:
    tree, said = read(f"search_strategy: {value}")
    assert "search_strategy" not in tree
    assert not said


def test_true(read: Read) -> None:
    tree, said = read(PASSES + "search_strategy: true")
    assert tree["search_strategy"] == {}
    assert not said


def test_other_names(read: Read) -> None:
    tree, said = read(PASSES + "search_strategy: {type: random, num_trials: 20}")
    assert tree["search_strategy"] == {"sampler": "random", "max_samples": 20}
    assert not said


def test_settings_that_cannot_matter_are_said(read: Read) -> None:
    tree, said = read(
        PASSES + "search_strategy: {execution_order: joint, sampler: sequential, max_samples: 3, seed: 0}"
    )
    assert tree["search_strategy"] == {"sampler": "grid", "max_samples": 3, "seed": 0}
    assert codes(said) == ["OL351"]


def test_nothing_is_open(read: Read) -> None:
    _, said = read("passes: {r: {type: Rtn, bits: 4}}\nsearch_strategy: true")
    assert codes(said) == ["OL352"]


def test_searchable_values(read: Read) -> None:
    tree, said = read("passes: {r: {type: Rtn, sym: SEARCHABLE_VALUES, group_size: DEFAULT_VALUE}}")
    assert tree["passes"]["r"] == {"type": "Rtn", "sym": {"choice": [True, False]}}
    assert not said


def test_searchable_values_of_a_setting_with_many(read: Read) -> None:
    _, said = read("passes: {n: {type: Null, bytes: SEARCHABLE_VALUES}}")
    assert codes(said) == ["OL307"]
    assert "bytes" in said[0].message


def test_conditional_space(read: Read) -> None:
    _, said = read(
        """
        passes:
          r:
            type: Rtn
            bits: {type: Conditional, parents: [sym], support: {}}
        """
    )
    assert [(d.code, d.line) for d in said] == [("OL307", 5)]


def test_search_space_at_the_top(read: Read) -> None:
    tree, said = read(
        """
        passes: {r: {type: Rtn}, s: {type: Rtn, config: {sym: true}}}
        search_space:
          bits: {type: choice, values: [4, 8]}
          wheels: {type: int, low: 2, high: 4}
        """
    )
    assert tree["passes"]["r"]["bits"] == {"type": "choice", "values": [4, 8]}
    assert tree["passes"]["s"]["config"]["bits"] == {"type": "choice", "values": [4, 8]}
    assert tree["search_strategy"] == {}
    assert [(d.code, d.line) for d in said] == [("OL307", 5)]
    assert "wheels" in said[0].message
