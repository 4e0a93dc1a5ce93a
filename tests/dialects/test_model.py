"""The input model in every way it is written."""

from __future__ import annotations

import pytest

from tests.dialects.reading import Read, codes


@pytest.mark.parametrize(
    "text",
    [
        "input_model: {type: HfModel, model_path: a/b, task: t}",
        "input_model: {type: HFModel, config: {model_path: a/b, task: t}}",
        "model: {type: hfmodel, config: {model_path: a/b, task: t}}",
    ],
)
def test_flat_nested_and_model(read: Read, text: str) -> None:
    tree, said = read(text)
    assert tree == {"input_model": {"type": "HfModel", "model_path": "a/b", "task": "t"}}
    assert not said


def test_pytorch_model_with_a_hub_name(read: Read) -> None:
    tree, said = read("model: {type: PyTorchModel, config: {model_path: a/b, task: text-generation}}")
    assert tree["input_model"]["type"] == "HfModel"
    assert codes(said) == ["OL350"]
    assert "a/b" in said[0].message


@pytest.mark.parametrize("extra", ["model_script: s.py", "model_path: weights.pt"])
def test_pytorch_model_that_is_one(read: Read, extra: str) -> None:
    tree, said = read(f"input_model: {{type: PytorchModel, {extra}}}")
    assert tree["input_model"]["type"] == "PyTorchModel"
    assert not said


@pytest.mark.parametrize(
    "kind", ["OpenVINOModel", "QNNModel", "TensorFlowModel", "DiffusersModel", "DistributedHfModel"]
)
def test_types_that_are_not_available(read: Read, kind: str) -> None:
    _, said = read(f"input_model:\n  type: {kind}\n  model_path: x\n")
    assert codes(said) == ["OL303"]
    assert kind in said[0].message
    assert (said[0].line, said[0].file) == (2, "w.yaml")
    assert said[0].hint


@pytest.mark.parametrize(("path", "kind"), [("a/b", "HfModel"), ("x/model.onnx", "OnnxModel")])
def test_no_type(read: Read, path: str, kind: str) -> None:
    tree, said = read(f"input_model: {{model_path: {path}}}")
    assert tree["input_model"]["type"] == kind
    assert codes(said) == ["OL350"]


def test_a_registry_of_a_cloud_is_named(read: Read) -> None:
    _, said = read("input_model: {type: HfModel, model_path: {type: azureml_registry_model, name: n, version: 1}}")
    assert codes(said) == ["OL303"]
    assert "azureml_registry_model" in said[0].message


def test_a_local_resource_is_a_path(read: Read) -> None:
    tree, said = read("input_model: {type: OnnxModel, model_path: {type: local_file, config: {path: m.onnx}}}")
    assert tree["input_model"]["model_path"] == "m.onnx"
    assert not said


def test_written_twice(read: Read) -> None:
    _, said = read("input_model: {type: HfModel, model_path: a, config: {model_path: b}}")
    assert codes(said) == ["OL311"]


def test_components_are_translated_too(read: Read) -> None:
    tree, said = read(
        """
        input_model:
          type: CompositeModel
          model_component_names: [a]
          model_components: [{type: ONNXModel, config: {model_path: a.onnx}}]
        """
    )
    assert tree["input_model"]["model_components"] == [{"type": "OnnxModel", "model_path": "a.onnx"}]
    assert not said
