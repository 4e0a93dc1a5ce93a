"""No pass reads weights from outside of the model's folder, or follows a cut-short file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from tests.onnx_graph.small import run_pass, text_model

pytestmark = pytest.mark.heavy

PASSES: list[tuple[str, dict[str, Any]]] = [
    ("AddOliveMetadata", {"graph_name": "g"}),
    ("ComposeOnnxModels", {}),
    ("DynamicToFixedShape", {"dim_param": ["batch"], "dim_value": [1]}),
    ("GraphSurgeries", {"surgeries": [{"surgeon": "InferShapes"}]}),
    ("InputNCHWtoNHWC", {}),
    ("OnnxFloatToFloat16", {}),
    ("OnnxIODataTypeConverter", {}),
    ("OnnxOpVersionConversion", {}),
    ("OnnxPeepholeOptimizer", {}),
    ("OnnxScriptFusion", {}),
    ("OrtMixedPrecision", {}),
    ("OrtSessionParamsTuning", {}),
    ("OrtTransformersOptimization", {}),
    ("SplitModel", {"num_splits": 2}),
    ("MatMulNBitsToQDQ", {}),
    ("OnnxBlockWiseRtnQuantization", {}),
    ("OnnxBnb4Quantization", {}),
    ("OnnxDynamicQuantization", {}),
    ("OnnxEmbeddingQuantization", {}),
    ("OnnxFloat8Quantization", {}),
    ("OnnxGptq", {}),
    ("OnnxHqqQuantization", {}),
    ("OnnxKQuantQuantization", {}),
    ("OnnxQuantization", {}),
    ("OnnxQuantizationPreprocess", {}),
    ("OnnxStaticQuantization", {}),
]


def beside(path: Path) -> OnnxModel:
    return text_model(path, save_as_external_data=True, location="w.data", size_threshold=0)


def point_to(model: OnnxModel, location: str) -> None:
    proto = onnx.load(model.file, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    model.file.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(("name", "settings"), PASSES)
def test_every_pass_refuses(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    model = beside(tmp_path / "in")
    model = model if name != "ComposeOnnxModels" else [model, model]  # type: ignore[assignment]
    first = model[0] if isinstance(model, list) else model
    os.link(first.path / "w.data", tmp_path / "outside.data")
    point_to(first, "../outside.data")
    with pytest.raises(PassError, match="outside of the model's folder"):
        run_pass(name, model, **settings)
    point_to(first, "w.data")
    with pytest.raises(PassError, match="hard link"):
        run_pass(name, model, **settings)
    (tmp_path / "outside.data").unlink()
    os.truncate(first.path / "w.data", 100)
    with pytest.raises(PassError, match="which has 100"):
        run_pass(name, model, **settings)
