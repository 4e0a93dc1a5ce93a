"""Every quantiser of ONNX models on a small model: smaller, close, and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from tests.onnx_graph.small import (
    Events,
    graph,
    ops,
    random,
    relative,
    run_pass,
    save,
    session_outputs,
    simple,
    text_model,
    tokens,
)

pytestmark = pytest.mark.heavy

# name, settings, an operator that must be there afterwards, largest relative error, most bits per weight
CASES: list[tuple[str, dict[str, Any], str, float, float]] = [
    ("OnnxDynamicQuantization", {}, "MatMulInteger", 0.05, 9),
    ("OnnxDynamicQuantization", {"precision": "uint8", "per_channel": False}, "MatMulInteger", 0.05, 9),
    ("OnnxQuantization", {"quant_mode": "dynamic"}, "MatMulInteger", 0.05, 9),
    ("OnnxStaticQuantization", {}, "QuantizeLinear", 0.1, 9),
    ("OnnxStaticQuantization", {"precision": "uint8", "activation_type": "uint16"}, "QuantizeLinear", 0.05, 17),
    ("OnnxStaticQuantization", {"quant_format": "QOperator", "activation_type": "uint8"}, "QLinearMatMul", 0.1, 9),
    ("OnnxStaticQuantization", {"calibrate_method": "Entropy"}, "QuantizeLinear", 0.2, 9),
    ("OnnxQuantization", {"calibrate_method": "Percentile"}, "QuantizeLinear", 0.2, 9),
    ("OnnxBlockWiseRtnQuantization", {"block_size": 32}, "MatMulNBits", 0.25, 5),
    ("OnnxBlockWiseRtnQuantization", {"block_size": 32, "is_symmetric": False}, "GatherBlockQuantized", 0.25, 5.2),
    ("OnnxBlockWiseRtnQuantization", {"bits": 8, "block_size": 64}, "MatMulNBits", 0.03, 8.6),
    ("OnnxHqqQuantization", {"block_size": 32}, "MatMulNBits", 0.25, 5.2),
    ("OnnxKQuantQuantization", {}, "GatherBlockQuantized", 0.25, 5.2),
    ("OnnxKQuantQuantization", {"bits": 8}, "MatMulNBits", 0.03, 9.3),
    ("OnnxGptq", {"block_size": 32}, "MatMulNBits", 0.25, 5.2),
    ("OnnxGptq", {"block_size": 32, "is_symmetric": True, "actorder": True}, "MatMulNBits", 0.25, 5.2),
    ("OnnxBnb4Quantization", {}, "MatMulBnb4", 0.3, 4.6),
    ("OnnxBnb4Quantization", {"precision": "fp4"}, "MatMulBnb4", 0.4, 4.6),
    ("OnnxFloat8Quantization", {}, "DequantizeLinear", 0.1, 8.3),
    ("OnnxEmbeddingQuantization", {}, "GatherBlockQuantized", 0.25, 5.2),
]


@pytest.mark.parametrize(("name", "settings", "op", "error", "bits"), CASES)
def test_small_model(tmp_path: Path, name: str, settings: Any, op: str, error: float, bits: float) -> None:
    model, events = text_model(tmp_path / "in"), Events()
    after = run_pass(name, model, events, **settings)
    assert ops(after)[op] > 0
    (before_logits,), (after_logits,) = (session_outputs(m, input_ids=tokens()) for m in (model, after))
    assert relative(before_logits, after_logits) < error
    assert after.file.stat().st_size < model.file.stat().st_size
    report = json.loads((after.path / "quantization.json").read_text())
    assert report["weights"]
    assert all(entry["bits"] <= bits for entry in report["weights"])
    assert all(0 < entry["relative"] < 0.3 and entry["cosine"] > 0.95 for entry in report["weights"])
    assert events.metric("size_ratio") < 1
    assert events.metric("verify.max_rel_diff") < error
    assert after.attributes["verified"]["runs"] == 2
    assert not events.texts("warning")


def test_rounding_is_onnxruntimes(tmp_path: Path) -> None:
    """The same bits as onnxruntime's own kernel, odd sizes included."""
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits

    from olive_like.passes.onnx_quantize._rounding import pack_last, round_columns, round_rows, unpack

    for bits, kernel in ((4, quantize_matmul_4bits), (8, quantize_matmul_8bits)):
        for symmetric in (True, False):
            weights, block = random(160, 48, seed=bits), 64
            packed = np.zeros((48, 3, block * bits // 8), np.uint8)
            scales = np.zeros((48, 3), np.float32)
            zeros = np.zeros((48, (3 * bits + 7) // 8), np.uint8)
            padded = np.pad(weights, ((0, 32), (0, 0)))
            kernel(packed, padded, scales, zeros, block, 48, 160, symmetric)
            for blocks in (
                round_columns(weights, bits, block, symmetric),
                round_rows(np.ascontiguousarray(weights.T), bits, block, symmetric),
            ):
                np.testing.assert_allclose(blocks.scales, scales, rtol=1e-6)
                ours, theirs = (part.reshape(48, -1)[:, : 160 * bits // 8] for part in (blocks.packed, packed))
                assert (ours != theirs).mean() < 0.01  # halves may go the other way
                if not symmetric:
                    assert (unpack(pack_last(blocks.zeros, bits), bits)[:, :3] == unpack(zeros, bits)[:, :3]).all()


def test_methods_are_better_than_rounding(tmp_path: Path) -> None:
    """HQQ by the mean error that it minimises, k-quant by the square, GPTQ by the output."""
    from olive_like.passes import _k_quant
    from olive_like.passes.onnx_quantize._blockwise import Spec, nearest, rounder
    from olive_like.passes.onnx_quantize._hqq import search
    from olive_like.passes.onnx_quantize._rounding import on_grids

    generator = np.random.default_rng(0)
    weights = generator.standard_t(3, (256, 64)).astype(np.float32)  # with outliers, as trained weights have
    spec = Spec(4, 32, symmetric=False)
    plain = weights.T - nearest(weights, True, spec).restored(4)
    fitted = weights.T - rounder(on_grids(search))(weights, True, spec).restored(4)
    by_k_quant = rounder(on_grids(_k_quant.search))
    blocks, same = by_k_quant(weights, True, spec), by_k_quant(np.ascontiguousarray(weights.T), False, spec)
    assert np.array_equal(blocks.packed, same.packed)
    searched = weights.T - blocks.restored(4)
    assert np.abs(fitted).mean() < np.abs(plain).mean()
    assert np.square(searched).mean() < 0.97 * np.square(plain).mean()


def test_gptq_compensates(tmp_path: Path) -> None:
    """On inputs that depend on each other the outputs' error is well below plain rounding's."""
    mixing = random(8, 64, seed=5, scale=1.0)
    rows = [{"x": (random(1, 8, seed=100 + i, scale=1.0) @ mixing)[0].tolist()} for i in range(128)]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "dense")
    model = simple(tmp_path / "in", [node], {"w": random(64, 512, seed=6)}, out=["batch", 512])
    events = Events()
    run_pass("OnnxGptq", model, events, block_size=32, data_config={"rows": rows})
    assert events.metric("mean_output_error") < 0.5 * events.metric("mean_output_error_rtn")
    assert events.metric("calibration_examples") == 128
    assert "as no data set was given" not in events.texts("note")


def test_lengths_that_do_not_divide(tmp_path: Path) -> None:
    for inner, block in ((80, 32), (24, 128), (49, 16)):
        node = helper.make_node("MatMul", ["x", "w"], ["y"], "dense")
        model = simple(tmp_path / str(inner), [node], {"w": random(inner, 256)}, ["batch", inner], ["batch", 256])
        for name in ("OnnxBlockWiseRtnQuantization", "OnnxKQuantQuantization", "OnnxHqqQuantization", "OnnxGptq"):
            events = Events()
            after = run_pass(name, model, events, block_size=block, accuracy_level=0)
            x = random(3, inner, seed=3, scale=1.0)
            (before_y,), (after_y,) = session_outputs(model, x=x), session_outputs(after, x=x)
            assert relative(before_y, after_y) < 0.25, (name, inner, block)
            assert "the last block is smaller" in events.texts("note") or "instead of" in events.texts("note")


def test_gemm_and_shared_and_tied_weights(tmp_path: Path) -> None:
    """A Gemm counts as a MatMul, a weight used twice is stored once, a transposed embedding is one matrix."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], "gemm", transB=1),
        node("MatMul", ["h", "v"], ["i"], "first"),
        node("MatMul", ["i", "v"], ["j"], "second"),
        node("Transpose", ["t"], ["tt"], "turn", perm=[1, 0]),
        node("MatMul", ["j", "tt"], ["y"], "head"),
    ]
    weights = {"w": random(64, 64), "b": random(64, seed=1), "v": random(64, 64, seed=2), "t": random(96, 64, seed=3)}
    model = simple(tmp_path / "in", nodes, weights, out=["batch", 96])
    after = run_pass("OnnxBlockWiseRtnQuantization", model, bits=8, block_size=32)
    assert ops(after) == {"MatMulNBits": 4, "Add": 1}
    stored = [tensor.name for tensor in onnx.load(after.file).graph.initializer]
    assert sum(name.startswith("v") for name in stored) == 2
    x = random(3, 64, seed=8, scale=1.0)
    assert relative(session_outputs(model, x=x)[0], session_outputs(after, x=x)[0]) < 0.05
    integers = run_pass("OnnxDynamicQuantization", model)
    assert ops(integers)["MatMulInteger"] == 4
    assert not ops(integers)["Transpose"]
    assert relative(session_outputs(model, x=x)[0], session_outputs(integers, x=x)[0]) < 0.1


def test_nodes_are_left_out(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    for name in ("OnnxBlockWiseRtnQuantization", "OnnxKQuantQuantization", "OnnxGptq", "OnnxBnb4Quantization"):
        after = run_pass(name, model, nodes_to_exclude=["lm_head/*"])
        assert ops(after)["MatMul"] == 1
    after = run_pass("OnnxDynamicQuantization", model, nodes_to_exclude=["layer.0/MatMul"])
    assert ops(after)["MatMul"] == 1
    after = run_pass("OnnxBlockWiseRtnQuantization", model, nodes_to_include=["layer.0/MatMul"])
    assert ops(after)["MatMulNBits"] == 1
    own = {"lm_head/MatMul": {"bits": 8}}
    after = run_pass("OnnxKQuantQuantization", model, customized_weight_config=own, embeddings=False)
    bits = {n.name: helper.get_node_attr_value(n, "bits") for n in onnx.load(after.file).graph.node if n.domain}
    assert bits == {"layer.0/MatMul_Q4": 4, "lm_head/MatMul_Q8": 8}


def test_to_standard_operators(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    for symmetric in (True, False):
        settings = {"block_size": 32, "is_symmetric": symmetric, "embeddings": False, "accuracy_level": 1}
        quantized = run_pass("OnnxBlockWiseRtnQuantization", model, **settings)
        (expected,) = session_outputs(quantized, input_ids=tokens())
        for form in (
            {},
            {"use_int4": True},
            {"use_int4": True, "use_signed_int": True},
            {"use_transpose_op": True, "add_zero_point": True},
        ):
            plain = run_pass("MatMulNBitsToQDQ", quantized, **form)
            assert ops(plain)["MatMulNBits"] == 0
            assert ops(plain)["DequantizeLinear"] == 2
            assert relative(expected, session_outputs(plain, input_ids=tokens())[0]) < 0.02
    with pytest.raises(PassError, match="no MatMulNBits"):
        run_pass("MatMulNBitsToQDQ", model)
    some = run_pass("MatMulNBitsToQDQ", quantized, nodes_to_exclude=["lm_head/MatMul_Q4"])
    assert ops(some)["MatMulNBits"] == 1


def test_preprocess_keeps_results(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Constant", [], ["c"], "c", value=numpy_helper.from_array(np.float32(2))),
        node("Add", ["c", "c"], ["d"], "sum"),
        node("Mul", ["x", "d"], ["y"], "scale"),
    ]
    model = simple(tmp_path / "in", nodes, {}, ["batch", 4])
    after = run_pass("OnnxQuantizationPreprocess", model)
    assert ops(after) == {"Mul": 1}
    x = random(2, 4)
    np.testing.assert_allclose(session_outputs(after, x=x)[0], 4 * x)


def test_masks_stay_float(tmp_path: Path) -> None:
    """The huge constants of masks would take the whole range of an 8-bit scale."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["scores"], "scores"),
        node("Greater", ["x", "zero"], ["seen"], "compare"),
        node("Where", ["seen", "zero", "low"], ["mask"], "mask"),
        node("Add", ["scores", "mask"], ["masked"], "masked"),
        node("Softmax", ["masked"], ["chances"], "softmax"),
        node("MatMul", ["chances", "v"], ["y"], "values"),
    ]
    low = np.array(np.finfo(np.float32).min)
    weights = {"w": random(64, 64), "v": random(64, 64, seed=1), "zero": np.float32(0), "low": low}
    model, events = simple(tmp_path / "in", nodes, weights), Events()
    after = run_pass("OnnxStaticQuantization", model, events)
    assert "masks stay float" in events.texts("note")
    x = random(2, 64, seed=5, scale=1.0)
    assert relative(session_outputs(model, x=x)[0], session_outputs(after, x=x)[0]) < 0.05


def test_parts_of_a_composite_model(tmp_path: Path) -> None:
    root = tmp_path / "whole"
    for name in ("encoder", "decoder"):
        text_model(root / name)
    (root / "tokenizer.json").write_text("{}")
    parts = [{"name": n, "kind": "onnx_model", "path": n, "attributes": {"task": "t"}} for n in ("encoder", "decoder")]
    after = run_pass("OnnxDynamicQuantization", CompositeModel(root, {"components": parts}))
    assert isinstance(after, CompositeModel)
    assert (after.path / "tokenizer.json").exists()
    for part in after.attributes["components"]:
        assert part["attributes"]["precision"] == "int8"
        assert ops(OnnxModel(after.path / part["path"], part["attributes"]))["MatMulInteger"] == 2


def test_external_data_and_half_precision(tmp_path: Path) -> None:
    """Weights are read from their file piece by piece, and scales keep the model's type."""
    model = text_model(
        tmp_path / "in", hidden=128, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    after = run_pass("OnnxBlockWiseRtnQuantization", model, external_data_name="small.data")
    assert sorted(p.name for p in after.path.iterdir()) == ["model.onnx", "quantization.json", "small.data"]
    half = run_pass("OnnxFloatToFloat16", model)
    quantized = run_pass("OnnxBlockWiseRtnQuantization", half, embeddings=False)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(quantized.file).graph.initializer}
    assert kinds["w1_scales"] == onnx.TensorProto.FLOAT16
    assert (
        relative(session_outputs(model, input_ids=tokens())[0], session_outputs(quantized, input_ids=tokens())[0]) < 0.3
    )


@pytest.mark.parametrize("kind", ["e4m3fn", "e5m2"])
def test_small_weights_in_half_precision_keep_their_scales(tmp_path: Path, kind: str) -> None:
    weight = (random(256, 8, seed=1) * 2e-4).astype(np.float16)
    shape = {"x": (TensorProto.FLOAT16, ["n", 256])}, {"y": (TensorProto.FLOAT16, ["n", 8])}
    model = save(tmp_path / "in", graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], {"w": weight}, *shape))
    after = run_pass("OnnxFloat8Quantization", model, float8_type=kind)
    stored = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(after.file).graph.initializer}
    assert relative(weight.astype(np.float64), stored["w_float8"] * stored["w_scale"]) < 0.13  # two bits of mantissa
