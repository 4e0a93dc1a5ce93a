"""What quantisers say to what they cannot use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from olive_like.errors import PassError
from olive_like.passes import registry
from tests.onnx_graph.small import Events, random, run_pass, simple, text_model

pytestmark = pytest.mark.heavy

WEIGHT_ONLY = [
    "OnnxBlockWiseRtnQuantization",
    "OnnxHqqQuantization",
    "OnnxKQuantQuantization",
    "OnnxBnb4Quantization",
    "OnnxFloat8Quantization",
]
INTEGER = ["OnnxDynamicQuantization", "OnnxStaticQuantization"]


def _dense(path: Path, weight: np.ndarray) -> Any:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "dense")
    return simple(path, [node], {"w": weight}, ["batch", weight.shape[0]], ["batch", weight.shape[1]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", [*WEIGHT_ONLY, *INTEGER])
def test_weights_that_are_no_numbers(tmp_path: Path, name: str, bad: float) -> None:
    weight = random(64, 64)
    weight[5, 7] = bad
    with pytest.raises(PassError, match=r"weight 'w' holds (nan|inf)"):
        run_pass(name, _dense(tmp_path / "in", weight))


@pytest.mark.parametrize("name", [*WEIGHT_ONLY, "OnnxDynamicQuantization"])
def test_quantised_already(tmp_path: Path, name: str) -> None:
    once = run_pass("OnnxBlockWiseRtnQuantization", text_model(tmp_path / "in"), block_size=32)
    with pytest.raises(PassError, match=r"quantised already: it has .*2 MatMulNBits"):
        run_pass(name, once)


@pytest.mark.parametrize("name", [*WEIGHT_ONLY, *INTEGER, "OnnxGptq"])
def test_excluded_node_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(PassError, match="'lm_head/Matmul', which the model does not have") as caught:
        run_pass(name, text_model(tmp_path / "in"), nodes_to_exclude=["lm_head/Matmul"])
    assert "lm_head/MatMul" in caught.value.hint


@pytest.mark.parametrize("name", INTEGER)
def test_operator_without_integer_form(tmp_path: Path, name: str) -> None:
    with pytest.raises(PassError, match="op_types_to_quantize has Einsum") as caught:
        run_pass(name, text_model(tmp_path / "in"), op_types_to_quantize=["MatMul", "Einsum"])
    assert "MatMul" in caught.value.hint


def test_everything_excluded(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="nothing to quantise"):
        run_pass("OnnxKQuantQuantization", text_model(tmp_path / "in"), nodes_to_exclude=["*"])


@pytest.mark.parametrize("name", ["OnnxStaticQuantization", "OnnxGptq"])
def test_calibration_sets(tmp_path: Path, name: str) -> None:
    model = _dense(tmp_path / "in", random(64, 64))
    with pytest.raises(PassError, match="has no rows"):
        run_pass(name, model, data_config={"rows": []})
    with pytest.raises(PassError, match=r"shape \[1, 3\] for the input 'x'"):
        run_pass(name, model, data_config={"rows": [{"x": [1.0, 2.0, 3.0]}]})
    events = Events()
    run_pass(name, model, events)
    assert "made-up inputs, as no data set was given" in events.texts("note")


def test_settings_that_contradict(tmp_path: Path) -> None:
    cls = registry.load("OnnxStaticQuantization")
    config = cls.Config(quant_format="QOperator", activation_type="uint16", precision="uint8")
    assert "QDQ format only" in cls.problems(config, [])[0]
    cls = registry.load("OnnxQuantization")
    assert cls.problems(cls.Config(quant_mode="dynamic", precision="int16"), [])
    cls = registry.load("OnnxBlockWiseRtnQuantization")
    assert "axis" in cls.problems(cls.Config(axis=1), [])[0]


def test_customised_weights_are_checked(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="customized_weight_config"):
        run_pass("OnnxKQuantQuantization", text_model(tmp_path / "in"), customized_weight_config={"*": {"bits": 3}})
