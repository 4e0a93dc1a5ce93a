"""Calibration data from functions of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

SCRIPT = """
import numpy as np

def numbers(count):
    return [{"value": i} for i in range(count)]

def scaled(rows, factor):
    return [{"x": np.full((1, 2), row["value"] * factor, np.float32)} for row in rows]

def batches(rows, batch_size, first=0):
    for start in range(first, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield {"x": np.concatenate([row["x"] for row in part])}, 0

def made_up(rows, batch_size, count):
    assert not rows
    return [({"x": np.ones((batch_size, 2))}, None)] * count

def broken(rows, batch_size):
    return rows.missing
"""
IO = {"inputs": [{"name": "x", "dtype": "float", "shape": ["batch", 2]}]}


@pytest.fixture
def feeds(tmp_path: Path):
    from olive_like.data.config import DataConfig
    from olive_like.passes.base import Context
    from olive_like.passes.onnx_quantize import _calibration

    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)

    def make(**settings):
        data = DataConfig.model_validate({"user_script": script, **settings})
        return list(_calibration._from_data(None, IO, data, Context(tmp_path, tmp_path)))

    return make


def test_load_process_and_batch(feeds) -> None:
    found = feeds(
        load_function="numbers",
        load_params={"count": 5},
        process_function="scaled",
        process_params={"factor": 10},
        dataloader_function="batches",
        dataloader_params={"first": 1},
        batch_size=2,
    )
    assert [feed["x"][:, 0].tolist() for feed in found] == [[10.0, 20.0], [30.0, 40.0]]


def test_a_data_loader_alone(feeds) -> None:
    found = feeds(dataloader_function="made_up", dataloader_params={"batch_size": 3, "count": 2})
    assert [feed["x"].shape for feed in found] == [(3, 2), (3, 2)]


def test_an_error_is_shown_at_the_user_s_line(feeds) -> None:
    from olive_like.errors import PassError

    with pytest.raises(PassError, match=r"broken failed at mine\.py:\d+.*missing"):
        feeds(dataloader_function="broken")


def test_sound_is_refused(feeds) -> None:
    from olive_like.errors import PassError

    with pytest.raises(PassError, match="sound"):
        feeds(source="a", audio={})
