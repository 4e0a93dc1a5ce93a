"""Which module belongs to which part."""

from __future__ import annotations

from pathlib import Path

import pytest

from olive_like.errors import PassError
from olive_like.passes.convert._split_info import _apart, _costs, by_cost, by_count
from olive_like.passes.convert.split_info import CaptureSplitInfo

BLOCKS = [f"model.layers.{index}" for index in range(5)]


def test_even_parts_of_blocks() -> None:
    assert list(by_count(BLOCKS, 2).values()) == [0, 0, 0, 1, 1]
    assert list(by_count(BLOCKS, 5).values()) == [0, 1, 2, 3, 4]
    with pytest.raises(PassError, match="6 parts of 5 blocks"):
        by_count(BLOCKS, 6)


def test_embedding_and_head_apart() -> None:
    parts = _apart(by_count(BLOCKS[:2], 2), "model.embed_tokens", "lm_head")
    assert parts == {"model.embed_tokens": 0, "model.layers.0": 1, "model.layers.1": 2, "lm_head": 3}


def test_parts_by_cost(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text(
        "module,num_params,num_bytes,num_flops\nembed,50,100,0\na,10,20,9\nb,10,20,9\nc,30,60,9\nd,10,20,9\nhead,20,40,9\n"
    )
    costs = _costs(file)
    assert costs[0] == ("embed", 100, True)
    even = by_cost(costs, 2, None)
    assert even == {"embed": 0, "a": 1, "b": 1, "c": 1, "d": 2, "head": 2}
    full = by_cost(costs, None, 100)
    assert full == {"embed": 0, "a": 1, "b": 1, "c": 1, "d": 2, "head": 2}
    with pytest.raises(PassError, match="embed has 100 bytes"):
        by_cost(costs, None, 60)


@pytest.mark.parametrize(("modules", "count"), [(7, 3), (32, 14), (5, 5)])
def test_as_many_parts_as_asked_for(modules: int, count: int) -> None:
    parts = list(by_cost([(f"m{index}", 100, False) for index in range(modules)], count, None).values())
    sizes = [parts.count(part) for part in range(count)]
    assert parts == sorted(parts)
    assert sum(sizes) == modules
    assert max(sizes) - min(sizes) <= 1


def test_no_table_of_costs(tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PassError, match="no table of costs"):
        _costs(tmp_path / "costs.csv")


@pytest.mark.parametrize("settings", [{}, {"max_part_bytes": 5}, {"num_splits": 2, "max_part_bytes": 5}])
def test_what_is_to_be_said(settings: dict[str, int]) -> None:
    assert CaptureSplitInfo.problems(CaptureSplitInfo.Config(**settings), [])
