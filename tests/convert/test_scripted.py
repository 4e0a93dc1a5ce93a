"""Models that a user's script builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import HfModel, PyTorchModel
from olive_like.errors import PassError
from tests import tiny_models
from tests.convert.helpers import Events, convert

pytestmark = pytest.mark.heavy

SCRIPT = """
import torch

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)

    def forward(self, left, right, scale=None, return_dict=True):
        total = self.linear(left) + right
        return {"total": total, "rows": (total * 2,)} if return_dict else (total, total * 2)

class Odd(torch.nn.Module):
    def forward(self, left):
        return torch.linalg.eigvals(left)

def build(model_path):
    torch.manual_seed(0)
    return Two()

def build_odd():
    return Odd()

def nothing():
    return 3

def inputs(model):
    return {"right": torch.randn(1, 4), "left": torch.randn(1, 8), "return_dict": False}

def io():
    return {
        "input_names": ["left", "right", "return_dict"],
        "output_names": ["total", "twice"],
        "dynamic_axes": {"left": {"0": "batch"}, "right": {"0": "batch"}, "total": {"0": "batch"}},
    }
"""


def scripted(tmp_path: Path, **attributes: Any) -> PyTorchModel:
    script = tmp_path / "source" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    return PyTorchModel(script.parent, {"script": str(script), "model_loader": "build", **attributes})


@pytest.mark.parametrize("dynamo", [None, True])
def test_inputs_and_names_from_the_script(tmp_path: Path, dynamo: bool | None) -> None:
    events = Events()
    model = scripted(tmp_path, io_config="io", dummy_inputs_func="inputs")
    result = convert(model, tmp_path / "out", events, use_dynamo_exporter=dynamo)
    described = {value["name"]: value["shape"] for value in result.attributes["io"]["inputs"]}
    assert described == {"left": ["batch", 8], "right": ["batch", 4]}
    assert [value["name"] for value in result.attributes["io"]["outputs"]] == ["total", "twice"]
    assert events.metric("verify.max_abs_diff") < 1e-6
    assert result.attributes["verified"]["runs"] == 2


def test_inputs_by_their_shapes(tmp_path: Path) -> None:
    io = {"input_names": ["left", "right"], "input_shapes": [[2, 8], [2, 4]], "output_names": ["total", "twice"]}
    result = convert(scripted(tmp_path, io_config=io), tmp_path / "out")
    assert [value["shape"] for value in result.attributes["io"]["inputs"]] == [[2, 8], [2, 4]]


def test_the_users_words_win_for_a_hugging_face_model(tmp_path: Path) -> None:
    model = tiny_models.tiny_bert(tmp_path / "in")
    io = {
        "input_names": ["input_ids", "attention_mask"],
        "input_shapes": [[1, 7], [1, 7]],
        "input_types": ["int64", "int64"],
        "output_names": ["scores"],
        "dynamic_axes": {"input_ids": {"1": "words"}, "attention_mask": {"1": "words"}},
    }
    result = convert(HfModel(model.path, {**model.attributes, "io_config": io}), tmp_path / "out")
    assert [value["name"] for value in result.attributes["io"]["outputs"]] == ["scores"]
    assert result.attributes["io"]["inputs"][0]["shape"] == [1, "words"]
    assert (result.path / "tokenizer.json").exists()


def test_some_of_what_a_model_gives(tmp_path: Path) -> None:
    """By its own names whichever they are, by others the first ones."""
    model = tiny_models.tiny_bert(tmp_path / "in", labels=None)
    given = {"input_names": ["input_ids"], "input_shapes": [[1, 6]], "input_types": ["int64"]}
    for name, rank in (("pooler_output", 2), ("words", 3)):
        attributes = {"task": "feature-extraction", "io_config": {**given, "output_names": [name]}}
        result = convert(HfModel(model.path, attributes), tmp_path / name)
        assert [(v["name"], len(v["shape"])) for v in result.attributes["io"]["outputs"]] == [(name, rank)]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"model_loader": "no_such"}, "has no function 'no_such'"),
        ({"model_loader": "nothing"}, "returned int, not a torch.nn.Module"),
        ({"model_loader": ""}, "needs a function that builds it"),
        ({}, "how the model is called is not known"),
        ({"script": "/nowhere/at_all.py"}, "is not a Python file"),
        ({"io_config": {"input_names": ["x"], "input_shapes": [[1]], "input_types": ["float7"]}}, "the type 'float7'"),
        ({"io_config": {"input_names": ["x", "y"], "input_shapes": [[1]]}}, "2 input_names, 1 input_shapes and 2"),
        (
            {"dummy_inputs_func": "inputs", "io_config": {"output_names": ["only"]}},
            "gives 2 tensors and io_config names 1",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(PassError, match=said):
        convert(scripted(tmp_path, **attributes), tmp_path / "out")


def test_an_op_without_an_onnx_counterpart_is_named(tmp_path: Path) -> None:
    io = {"input_names": ["left"], "input_shapes": [[3, 3]], "output_names": ["values"]}
    model = scripted(tmp_path, model_loader="build_odd", io_config=io)
    with pytest.raises(PassError, match="linalg_eigvals") as caught:
        convert(model, tmp_path / "out")
    assert "use_dynamo_exporter" in caught.value.hint
    assert "\n" not in caught.value.message
