"""What the classes say about themselves, without any heavy library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from olive_like.passes import onnx_graph, onnx_quantize, registry
from olive_like.passes.base import Effect

NAMES = [*onnx_graph.PASSES, *onnx_quantize.PASSES]


@pytest.mark.parametrize("name", NAMES)
def test_class(name: str) -> None:
    cls = registry.load(name)
    assert cls.__name__ == name
    assert registry.doc(cls)
    assert cls.available()
    assert all(field.description for field in cls.Config.model_fields.values())
    assert {"save_as_external_data", "verify"} <= set(cls.Config.model_fields)


def test_quantisers_shrink() -> None:
    free = {
        "OnnxStaticQuantization",
        "OnnxQuantization",
        "OnnxQuantizationPreprocess",
        "QNNPreprocess",
        "MatMulNBitsToQDQ",
    }
    for name in onnx_quantize.PASSES:
        assert (registry.load(name).effect is Effect.SHRINKS) == (name not in free), name


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from olive_like.passes import registry, onnx_graph, onnx_quantize;"
        "[registry.load(n).Config.model_json_schema() for n in [*onnx_graph.PASSES, *onnx_quantize.PASSES]];"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'onnxscript', 'torch', 'transformers'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_names() -> None:
    assert registry.load("OnnxMatMul4Quantizer").__name__ == "OnnxBlockWiseRtnQuantization"
    assert registry.load("orttransformersoptimization").__name__ == "OrtTransformersOptimization"
