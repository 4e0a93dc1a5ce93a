"""What calibration makes of the user's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from olive_like.artifacts import OnnxModel
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._calibration import calibration_feeds
from tests.onnx_graph.small import graph, save

pytestmark = pytest.mark.heavy

PROCESSOR = {
    "size": {"shortest_edge": 10},
    "do_center_crop": True,
    "crop_size": {"height": 8, "width": 6},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.5, 0.25, 0.1],
}


def calibrate(tmp_path: Path, edges: list[Any], processor: dict[str, Any] | None, **image: Any) -> np.ndarray:
    """The pixels of one picture of one colour, (51, 102, 204) or 0.2, 0.4 and 0.8."""
    sides = (TensorProto.FLOAT, [1, 3, *edges])
    relu = helper.make_node("Relu", ["pixel_values"], ["y"], "relu")
    model: OnnxModel = save(tmp_path / "in", graph([relu], {}, {"pixel_values": sides}, {"y": sides}))
    if processor is not None:
        (tmp_path / "in" / "preprocessor_config.json").write_text(json.dumps(processor))
    Image.new("RGB", (40, 20), (51, 102, 204)).save(tmp_path / "a.png")
    data = DataConfig.model_validate({"rows": [{"image": str(tmp_path / "a.png")}], "image": image or None})
    context = Context(tmp_path / "out", tmp_path / "scratch")
    (feeds,) = calibration_feeds(model, next((tmp_path / "in").glob("*.onnx")), data, 4, context)
    return feeds["pixel_values"]


def test_pictures_are_made_as_the_models_processor_makes_them(tmp_path: Path) -> None:
    pixels = calibrate(tmp_path, ["height", "width"], PROCESSOR)
    assert pixels.shape == (1, 3, 8, 6)
    np.testing.assert_allclose(pixels[0, :, 0, 0], [0.2, 0.8, 5.0], rtol=1e-5)


def test_what_the_data_set_says_of_pictures_comes_first(tmp_path: Path) -> None:
    pixels = calibrate(tmp_path, ["h", "w"], PROCESSOR | {"do_center_crop": False}, size=[4, 5], mean=[0.2, 0.4, 0.8])
    assert pixels.shape == (1, 3, 4, 5)
    np.testing.assert_allclose(pixels, 0, atol=1e-6)


def test_without_a_processor_the_graph_says_the_size(tmp_path: Path) -> None:
    pixels = calibrate(tmp_path, [7, 9], None)
    assert pixels.shape == (1, 3, 7, 9)
    np.testing.assert_allclose(pixels[0, :, 0, 0], [-0.6, -0.2, 0.6], atol=1e-6)
    with pytest.raises(PassError, match="the size of the images is not known"):
        calibrate(tmp_path / "open", ["h", "w"], None)
