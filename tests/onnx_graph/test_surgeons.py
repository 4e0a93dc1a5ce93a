"""Every surgeon on a graph that has what it looks for, and on one that has not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes import registry
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
node = helper.make_node
FLOAT = TensorProto.FLOAT


def operate(model: OnnxModel, surgeon: str, events: Events | None = None, **settings: Any) -> OnnxModel:
    result = run_pass("GraphSurgeries", model, events, surgeries=[{"surgeon": surgeon, **settings}])
    assert isinstance(result, OnnxModel)
    return result


def same(before: OnnxModel, after: OnnxModel, bound: float = 1e-5, **feeds: Any) -> None:
    for old, new in zip(session_outputs(before, **feeds), session_outputs(after, **feeds), strict=True):
        assert relative(old, new) <= bound


def test_every_surgeon_has_settings_and_work() -> None:
    from olive_like.passes.onnx_graph import _surgeries, surgeons

    assert set(surgeons.SURGEONS) == set(_surgeries.SURGEONS)
    assert all(cls.__doc__ for cls in surgeons.SURGEONS.values())


def test_settings_are_checked() -> None:
    config = registry.load("GraphSurgeries").Config
    assert config(surgeries=[{"surgeon": "tiewordembeddings"}]).surgeries[0].surgeon == "TieWordEmbeddings"
    with pytest.raises(ValidationError, match="GemmToMatMulAdd"):
        config(surgeries=[{"surgeon": "GemmToMatmul"}])
    with pytest.raises(ValidationError, match="new_names"):
        config(surgeries=[{"surgeon": "RenameInputs", "old_names": ["a"]}])
    with pytest.raises(ValidationError, match="colour"):
        config(surgeries=[{"surgeon": "RemoveQDQ", "colour": "red"}])


def test_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    after = operate(model, "RenameInputs", old_names=["input_ids"], new_names=["ids"])
    after = operate(after, "RenameOutputs", old_names=["logits"], new_names=["scores"])
    io = after.attributes["io"]
    assert (io["inputs"][0]["name"], io["outputs"][0]["name"]) == ("ids", "scores")
    np.testing.assert_array_equal(
        session_outputs(after, ids=tokens())[0], session_outputs(model, input_ids=tokens())[0]
    )
    with pytest.raises(PassError, match="no input 'pixels'") as caught:
        operate(model, "RenameInputs", old_names=["pixels"], new_names=["x"])
    assert "input_ids" in caught.value.hint
    with pytest.raises(PassError, match="'h1' is taken"):
        operate(model, "RenameInputs", old_names=["input_ids"], new_names=["h1"])
    with pytest.raises(PassError, match="go in pairs"):
        operate(model, "RenameOutputs", old_names=["logits"], new_names=[])


def test_order_and_number_of_inputs(tmp_path: Path) -> None:
    inputs = {"a": (FLOAT, [2]), "b": (FLOAT, [2]), "low": (FLOAT, [])}
    nodes = [node("Sub", ["a", "b"], ["d"], "sub"), node("Clip", ["d", "low"], ["y"], "clip")]
    model = save(tmp_path / "in", graph(nodes, {}, inputs, {"y": (FLOAT, [2])}))
    after = operate(model, "ReorderInputs", permutation=[2, 0, 1])
    assert [value["name"] for value in after.attributes["io"]["inputs"]] == ["low", "a", "b"]
    with pytest.raises(PassError, match="not an order"):
        operate(model, "ReorderInputs", permutation=[0, 0, 1])
    fewer = operate(model, "RemoveInputs", names=["low"])
    a, b = random(2), random(2, seed=1)
    np.testing.assert_allclose(session_outputs(fewer, a=a, b=b)[0], a - b)


def test_weights_among_the_inputs(tmp_path: Path) -> None:
    made = graph([node("Add", ["x", "w"], ["y"], "add")], {"w": random(2)}, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    made.input.append(helper.make_tensor_value_info("w", FLOAT, [2]))
    model = save(tmp_path / "in", made)
    after = operate(model, "RemoveInitializerFromInputs")
    assert [value.name for value in onnx.load(after.file).graph.input] == ["x"]
    same(model, after, x=random(2, seed=5))


def test_values_made_visible(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    after = operate(model, "ExposeOutputs", names=["layer.0/Relu"])
    assert [value["name"] for value in after.attributes["io"]["outputs"]] == ["logits", "h3"]
    every = operate(model, "AddIntermediateTensorsToOutputs")
    assert len(every.attributes["io"]["outputs"]) == 5
    one = operate(model, "AddIntermediateTensorsToOutputs", intermediate_tensor_to_add=["embedded"])
    assert len(one.attributes["io"]["outputs"]) == 2
    with pytest.raises(PassError, match="no node 'relu'"):
        operate(model, "ExposeOutputs", names=["relu"])


def test_quantised_output(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], "dequantize"),
    ]
    weights = {"s": np.float32(0.5), "z": np.uint8(7)}
    model = simple(tmp_path / "in", nodes, weights, [4])
    after = operate(model, "ExposeQuantizedOutput", output_name="y")
    x = np.array([0, 1, -1, 2], np.float32)
    q, scale, zero = session_outputs(after, x=x)
    assert q.tolist() == [7, 9, 5, 11]
    assert (float(scale), int(zero)) == (0.5, 7)
    plain = operate(model, "RemoveQDQ")
    assert not ops(plain)["QuantizeLinear"]
    np.testing.assert_array_equal(session_outputs(plain, x=x * 100)[0], x * 100)
    clipped = operate(model, "RemoveQDQ", keep_clip_after_inputs=True)
    assert session_outputs(clipped, x=x * 1000)[0].tolist() == [0, 124, -3.5, 124]


def test_zeros_for_an_input(tmp_path: Path) -> None:
    model = simple(tmp_path / "in", [node("Add", ["x", "w"], ["y"], "add")], {"w": random(3)}, [3])
    after = operate(model, "ZeroOutInput", node_name="add", input_idx=1)
    x = random(3, seed=4)
    np.testing.assert_array_equal(session_outputs(after, x=x)[0], x)
    with pytest.raises(PassError, match="not fixed"):
        operate(text_model(tmp_path / "text"), "ZeroOutInput", node_name="layer.0/Relu", input_idx=0)
    with pytest.raises(PassError, match="no input 5"):
        operate(model, "ZeroOutInput", node_name="add", input_idx=5)


def test_axes(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    after = operate(model, "RenameInputDims", input_name="input_ids", dim_idx=0, dim_name="rows")
    after = operate(after, "RenameOutputDims", output_idx=0, dim_idx=1, dim_name="columns")
    io = after.attributes["io"]
    assert io["inputs"][0]["shape"] == ["rows", "sequence"]
    assert io["outputs"][0]["shape"] == ["batch", "columns", 128]
    with pytest.raises(PassError, match="has no axis 3"):
        operate(model, "RenameInputDims", input_idx=0, dim_idx=3, dim_name="x")
    with pytest.raises(PassError, match="one of them"):
        operate(model, "RenameInputDims", dim_idx=0, dim_name="x")
    inferred = operate(model, "InferShapes")
    assert {value.name for value in onnx.load(inferred.file).graph.value_info} >= {"h1", "h3"}
    bare = operate(inferred, "RemoveShapes")
    assert not {value.name for value in onnx.load(bare.file).graph.value_info} & {"h1", "h2", "h3", "embedded"}


def test_gemm_and_back(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["g"], "gemm", transB=1), node("Relu", ["g"], ["y"], "relu")]
    model = simple(tmp_path / "in", nodes, {"w": random(8, 64), "b": random(8)}, ["batch", 64], ["batch", 8])
    after = operate(model, "GemmToMatMulAdd")
    assert ops(after) == {"MatMul": 1, "Add": 1, "Relu": 1}
    same(model, after, x=random(3, 64, seed=1))
    back = operate(after, "MatMulAddToGemm")
    assert ops(back) == {"Gemm": 1, "Relu": 1}
    same(model, back, x=random(3, 64, seed=1))
    scaled = simple(tmp_path / "scaled", [node("Gemm", ["x", "w"], ["y"], "gemm", alpha=2.0)], {"w": random(64, 8)})
    assert ops(operate(scaled, "GemmToMatMulAdd"))["Gemm"] == 1
    deep = [node("MatMul", ["x", "w"], ["m"], "dense"), node("Add", ["m", "b"], ["y"], "add")]
    model = simple(tmp_path / "deep", deep, {"w": random(64, 8), "b": random(8)}, [2, 3, 64], [2, 3, 8])
    after = operate(model, "MatMulAddToGemm")
    assert ops(after) == {"Reshape": 2, "Gemm": 1}
    same(model, after, x=random(2, 3, 64, seed=1))


def test_transposed_weights_and_division(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["m"], "dense"),
        node("Abs", ["m"], ["a"], "abs"),
        node("Add", ["a", "one"], ["d"], "add"),
        node("Reciprocal", ["d"], ["r"], "reciprocal"),
        node("Mul", ["r", "m"], ["y"], "mul"),
    ]
    model = simple(tmp_path / "in", nodes, {"w": random(64, 8), "one": np.float32(1)}, out=["batch", 8])
    divided = operate(model, "ReciprocalMulToDiv")
    assert ops(divided)["Div"] == 1
    assert not ops(divided)["Reciprocal"]
    same(model, divided, x=random(3, 64))
    turned = operate(model, "MatMulToTransposeMatMul")
    assert ops(turned)["Transpose"] == 1
    same(model, turned, x=random(3, 64))


def test_activations(tmp_path: Path) -> None:
    model = simple(tmp_path / "erf", [node("Erf", ["x"], ["y"], "erf")], {}, ["batch", 64])
    after = operate(model, "ReplaceErfWithTanh")
    assert ops(after) == {"Mul": 1, "Tanh": 1}
    x = random(4, 64, scale=2.0)
    assert np.abs(session_outputs(model, x=x)[0] - session_outputs(after, x=x)[0]).max() < 0.05
    quick = node("QuickGelu", ["x"], ["y"], "quick", domain="com.microsoft", alpha=1.5)
    model = simple(tmp_path / "quick", [quick], {}, ["batch", 64])
    after = operate(model, "DecomposeQuickGelu")
    assert ops(after) == {"Mul": 2, "Sigmoid": 1}
    same(model, after, x=x)


@pytest.mark.parametrize("spelling", ["div", "reciprocal", "one_by"])
def test_root_mean_square(tmp_path: Path, spelling: str) -> None:
    nodes = [
        node("Pow", ["x", "two"], ["p"], "pow"),
        node("ReduceMean", ["p", "axes"], ["m"], "mean"),
        node("Add", ["m", "eps"], ["a"], "add"),
        node("Sqrt", ["a"], ["s"], "sqrt"),
    ]
    nodes += {
        "div": [node("Div", ["x", "s"], ["n"], "div")],
        "reciprocal": [node("Reciprocal", ["s"], ["r"], "r"), node("Mul", ["x", "r"], ["n"], "n")],
        "one_by": [node("Div", ["one", "s"], ["r"], "r"), node("Mul", ["r", "x"], ["n"], "n")],
    }[spelling]
    nodes.append(node("Mul", ["w", "n"], ["y"], "weight"))
    constants = {"two": np.float32(2), "axes": np.array([-1], np.int64), "eps": np.float32(1e-9), "one": np.float32(1)}
    for weight in (random(64, seed=3), np.ones(64, np.float32)):
        model = simple(tmp_path / f"in{weight[0]}", nodes, {**constants, "w": weight})
        after = operate(model, "RMSNormToL2Norm")
        assert ops(after) == {"LpNormalization": 1, "Mul": 1}
        same(model, after, x=random(3, 64, scale=1.0))


def test_contrib_normalisations(tmp_path: Path) -> None:
    skip = "SkipSimplifiedLayerNormalization"
    nodes = [
        node("SimplifiedLayerNormalization", ["x", "w"], ["n"], "first", axis=-1, epsilon=1e-9),
        node(skip, ["n", "x", "v"], ["o", "", "", "sum"], "second", domain="com.microsoft", epsilon=1e-9),
        node("Add", ["o", "sum"], ["y"], "add"),
    ]
    model = simple(tmp_path / "in", nodes, {"w": random(64, seed=1), "v": random(64, seed=2)})
    after = operate(model, "SimplifiedLayerNormToL2Norm")
    assert ops(after) == {"LpNormalization": 2, "Mul": 2, "Add": 2}
    same(model, after, x=random(3, 64, scale=1.0))
    some = operate(model, "SimplifiedLayerNormToL2Norm", op_types=[skip])
    assert ops(some)["LpNormalization"] == 1
    with pytest.raises(PassError, match="op_types has 'LayerNorm'"):
        operate(model, "SimplifiedLayerNormToL2Norm", op_types=["LayerNorm"])


def test_spelled_norm(tmp_path: Path) -> None:
    nodes = [
        node("Pow", ["x", "two"], ["p"], "square"),
        node("ReduceSum", ["p", "axes"], ["s"], "sum"),
        node("Pow", ["s", "half"], ["r"], "root"),
        node("Div", ["x", "r"], ["y"], "div"),
    ]
    weights = {"two": np.float32(2), "half": np.float32(0.5), "axes": np.array([-1], np.int64)}
    model = simple(tmp_path / "in", nodes, weights)
    after = operate(model, "PowReduceSumPowDiv2LpNorm")
    assert ops(after) == {"LpNormalization": 1}
    same(model, after, x=random(3, 64, scale=1.0))
    other = simple(tmp_path / "other", nodes, {**weights, "half": np.float32(0.3)})
    assert ops(operate(other, "PowReduceSumPowDiv2LpNorm"))["Pow"] == 2


def test_mask_values(tmp_path: Path) -> None:
    low = np.finfo(np.float32).min
    constant = numpy_helper.from_array(np.array([low], np.float32))
    nodes = [
        node("ConstantOfShape", ["size"], ["c"], "c", value=constant),
        node("Where", ["seen", "zero", "c"], ["m1"], "where"),
        node("Add", ["m1", "table"], ["m2"], "add"),
        node("Add", ["x", "m2"], ["s"], "scores"),
        node("Softmax", ["s"], ["y"], "softmax"),
    ]
    table = np.zeros(4, np.float32)
    table[0] = low / 2
    weights = {"size": np.array([4], np.int64), "seen": np.array([True, True, False, True]), "zero": np.float32(0)}
    model = simple(tmp_path / "in", nodes, {**weights, "table": table}, ["batch", 4])
    after = operate(model, "ReplaceAttentionMaskValue", replacement=-50.0)
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(after.file).graph.initializer}
    assert values["table"][0] == -50
    same(model, after, x=random(2, 4))


def test_idle_nodes_and_group_index(tmp_path: Path) -> None:
    index = np.arange(64, dtype=np.int32) // 32
    for order, kept in ((index, 0), (index[::-1].copy(), 1)):
        weights = {"b": np.zeros((16, 2, 16), np.uint8), "s": random(32), "g": order}
        attributes = {"K": 64, "N": 16, "bits": 4, "block_size": 32, "domain": "com.microsoft"}
        nodes = [
            node("MemcpyFromHost", ["x"], ["c"], "copy"),
            node("MatMulNBits", ["c", "b", "s", "", "g"], ["y"], "nbits", **attributes),
        ]
        model = simple(tmp_path / f"in{kept}", nodes, weights, out=["batch", 16])
        surgeries = [{"surgeon": "RemoveMemcpy"}, {"surgeon": "RemoveGidxFromMatMulNBits"}]
        events = Events()
        after = run_pass("GraphSurgeries", model, events, surgeries=surgeries, verify="off")
        written = onnx.load(after.file).graph
        assert [n.op_type for n in written.node] == ["MatMulNBits"]
        assert sum("g" in n.input for n in written.node) == kept


def test_duplicates(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [node("Add", ["x", "w3"], ["z"], "inner")], "b", [], [helper.make_tensor_value_info("z", FLOAT, None)],
        [numpy_helper.from_array(random(64), "w3")],
    )  # fmt: skip
    other = helper.make_graph(
        [node("Identity", ["x"], ["z2"], "other")], "o", [], [helper.make_tensor_value_info("z2", FLOAT, None)]
    )
    nodes = [
        node("Add", ["x", "w1"], ["a"], "one"),
        node("Add", ["x", "w1"], ["b"], "two"),
        node("Mul", ["a", "b"], ["m"], "mul"),
        node("Add", ["m", "w2"], ["c"], "three"),
        node("If", ["yes"], ["d"], "choice", then_branch=branch, else_branch=other),
        node("Add", ["c", "d"], ["y"], "last"),
    ]
    model = simple(tmp_path / "in", nodes, {"w1": random(64), "w2": random(64), "yes": np.array(True)})
    merged = operate(model, "DeduplicateNodes")
    assert ops(merged)["Add"] == 3
    same(model, merged, x=random(2, 64))
    weights = operate(model, "DeduplicateSubgraphInitializers")
    assert sum(t.dims == [64] for t in onnx.load(weights.file).graph.initializer) == 1
    same(model, weights, x=random(2, 64))


def tied(path: Path) -> OnnxModel:
    """An embedding whose transposed copy makes the logits."""
    table = random(128, 64, seed=1)
    nodes = [
        node("Gather", ["table", "input_ids"], ["e"], "embed_tokens/Gather"),
        node("Relu", ["e"], ["r"], "relu"),
        node("MatMul", ["r", "head"], ["logits"], "lm_head/MatMul"),
    ]
    ids, logits = (TensorProto.INT64, ["batch", "sequence"]), (FLOAT, ["batch", "sequence", 128])
    weights = {"table": table, "head": np.ascontiguousarray(table.T)}
    return save(path, graph(nodes, weights, {"input_ids": ids}, {"logits": logits}))


def test_tied_embeddings(tmp_path: Path) -> None:
    model = tied(tmp_path / "in")
    after = operate(model, "TieWordEmbeddings")
    assert sum(len(t.dims) == 2 for t in onnx.load(after.file).graph.initializer) == 1
    same(model, after, input_ids=tokens())
    for symmetric in (True, False):
        quantized = run_pass("OnnxBlockWiseRtnQuantization", model, block_size=32, is_symmetric=symmetric)
        shared = operate(quantized, "TieWordEmbeddings")
        assert shared.file.stat().st_size < 0.6 * quantized.file.stat().st_size
        same(quantized, shared, input_ids=tokens())
    events = Events()
    operate(text_model(tmp_path / "untied"), "TieWordEmbeddings", events)
    assert "did not change" in events.texts("warning")


def test_logits_of_the_last_position(tmp_path: Path) -> None:
    """With what stands between the product and the logits; values that are read elsewhere too stay whole."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "lm_head/MatMul"),
        node("Add", ["b", "h"], ["c"], "lm_head/Add"),
        node("Tanh", ["c"], ["d"], "cap"),
        node("Mul", ["d", "s"], ["logits"], "scale"),
    ]
    weights = {"w": random(64, 128, seed=1), "b": random(128), "s": np.float32(30)}
    x, logits = (FLOAT, ["batch", "sequence", 64]), (FLOAT, ["batch", "sequence", 128])
    model = save(tmp_path / "in", graph(nodes, weights, {"x": x}, {"logits": logits}))
    quantised = run_pass("OnnxBlockWiseRtnQuantization", model, block_size=32)
    feed = random(2, 5, 64, seed=3)
    for before in (model, quantised):
        after = run_pass("GraphSurgeries", before, surgeries=[{"surgeon": "PruneLmHead"}], verify="fail")
        assert after.attributes["io"]["outputs"][0]["shape"] == ["batch", 1, 128]
        (whole,), (last,) = session_outputs(before, x=feed), session_outputs(after, x=feed)
        np.testing.assert_allclose(last, whole[:, -1:], rtol=1e-5, atol=1e-5)
        again = Events()
        operate(after, "PruneLmHead", again)
        assert "did not change" in again.texts("warning")
    steps = [
        node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        node("DequantizeLinear", ["w8", "step", "zero"], ["wd"]),
        node("MatMul", ["xd", "wd"], ["h"]),
        node("QuantizeLinear", ["h", "step", "zero"], ["hq"]),
        node("DequantizeLinear", ["hq", "step", "zero"], ["logits"]),
    ]
    rounded = {"w8": (weights["w"] * 50).astype(np.int8), "step": np.float32(0.02), "zero": np.int8(0)}
    pairs = save(tmp_path / "pairs", graph(steps, rounded, {"x": x}, {"logits": logits}))
    after = operate(pairs, "PruneLmHead")
    kinds = [each.op_type for each in onnx.load(after.file).graph.node]
    assert kinds.index("Gather") < kinds.index("QuantizeLinear")  # the pairs stay around the product
    np.testing.assert_array_equal(session_outputs(after, x=feed)[0], session_outputs(pairs, x=feed)[0][:, -1:])
    seen, events = save(tmp_path / "seen", graph(nodes, weights, {"x": x}, {"logits": logits, "d": logits})), Events()
    operate(seen, "PruneLmHead", events)
    assert "did not change" in events.texts("warning")


def test_embedding_in_8_bits_shared(tmp_path: Path) -> None:
    model = tied(tmp_path / "in")
    quantized = run_pass("OnnxBlockWiseRtnQuantization", model, block_size=32, embeddings=False)
    after = operate(quantized, "QuantizeEmbeddingInt8")
    assert ops(after)["GatherBlockQuantized"] == 1
    same(quantized, after, 0.05, input_ids=tokens())
    shared = operate(after, "ShareEmbeddingLmHead")
    assert shared.file.stat().st_size < after.file.stat().st_size
    same(model, shared, 0.05, input_ids=tokens())


def test_rotary_caches_and_lengths(tmp_path: Path) -> None:
    """A GroupQueryAttention as ModelBuilder writes it, with two rotary caches to choose from."""

    def branch(name: str, rows: int) -> onnx.GraphProto:
        parts = {kind: numpy_helper.from_array(random(rows, 8, seed=len(kind))) for kind in ("cosine", "sine")}
        made = [node("Constant", [], [f"{kind}_{name}"], value=part) for kind, part in parts.items()]
        outputs = [helper.make_tensor_value_info(f"{kind}_{name}", FLOAT, [rows, 8]) for kind in parts]
        return helper.make_graph(made, name, [], outputs)

    attention = node(
        "GroupQueryAttention", ["q", "k", "v", "pk", "pv", "lens", "total", "cos", "sin"], ["y", "nk", "nv"], "gqa",
        domain="com.microsoft", num_heads=2, kv_num_heads=2, do_rotary=1,
    )  # fmt: skip
    nodes = [
        node("ReduceSum", ["attention_mask", "axis"], ["sums"], "sum", keepdims=1),
        node("Sub", ["sums", "one"], ["less"], "sub"),
        node("Cast", ["less"], ["lens"], "cast", to=TensorProto.INT32),
        node("Shape", ["attention_mask"], ["shape"], "shape"),
        node("Gather", ["shape", "i1"], ["length"], "length"),
        node("Cast", ["length"], ["total"], "cast2", to=TensorProto.INT32),
        node("Greater", ["length", "limit"], ["long"], "greater"),
        node("If", ["long"], ["cos", "sin"], "caches", then_branch=branch("big", 64), else_branch=branch("small", 32)),
        attention,
    ]
    weights = {"axis": np.array([1]), "one": np.array([[1]]), "i1": np.int64(1), "limit": np.int64(32)}
    wide, cache = (FLOAT, [1, "sequence", 32]), (FLOAT, [1, 2, 0, 16])
    inputs = {
        "attention_mask": (TensorProto.INT64, [1, "total"]),
        "input_ids": (TensorProto.INT64, [1, "sequence"]),
        **dict.fromkeys("qkv", wide),
        "pk": cache,
        "pv": cache,
    }
    grown = (FLOAT, [1, 2, "total", 16])
    model = save(tmp_path / "in", graph(nodes, weights, inputs, {"y": wide, "nk": grown, "nv": grown}))
    values = {name: random(1, 5, 32, seed=i, scale=1.0) for i, name in enumerate("qkv")}
    empty = {name: np.zeros((1, 2, 0, 16), np.float32) for name in ("pk", "pv")}
    old = {"attention_mask": np.ones((1, 5), np.int64), "input_ids": np.zeros((1, 5), np.int64)}
    with pytest.raises(PassError, match="mask is also used by Shape 'shape'") as caught:
        operate(model, "AttentionMaskToSequenceLengths")
    assert "RemoveRopeMultiCache" in caught.value.hint
    single = operate(model, "RemoveRopeMultiCache")
    assert not ops(single)["If"] + ops(single)["Greater"]
    same(model, single, **values, **empty, **old)
    large = operate(model, "RemoveRopeMultiCache", use_large_cache=True)
    assert any(tensor.dims == [64, 8] for tensor in onnx.load(large.file).graph.initializer)
    after = operate(single, "AttentionMaskToSequenceLengths")
    assert not ops(after)["ReduceSum"]
    lengths = {"past_seq_len": np.array([[4]], np.int32), "total_seq_len": np.array(5, np.int32)}
    outputs = session_outputs(after, **values, **empty, **lengths, input_ids=old["input_ids"])
    assert relative(session_outputs(single, **values, **empty, **old)[0], outputs[0]) < 1e-6


def test_packed_attention(tmp_path: Path) -> None:
    """Attention within each image only, as plain attention on each of them gives it."""
    packed = node("PackedAttention", ["q", "k", "v", "cu"], ["y"], "a", domain="custom", num_heads=2, scale=0.25)
    inputs: dict[str, Any] = {name: (FLOAT, [1, 2, "length", 8]) for name in "qkv"}
    inputs["cu"] = (TensorProto.INT32, ["images"])
    model = save(tmp_path / "in", graph([packed], {}, inputs, {"y": (FLOAT, [1, "length", 2, 8])}))
    after = operate(model, "PackedAttentionToLoopMHA")
    assert ops(after)["Loop"] == 1
    bounds = np.array([0, 3, 4, 9], np.int32)
    q, k, v = (random(1, 2, 9, 8, seed=i, scale=1.0) for i in range(3))
    (y,) = session_outputs(after, q=q, k=k, v=v, cu=bounds)
    for start, end in pairwise(bounds):
        scores = q[0, :, start:end] @ k[0, :, start:end].transpose(0, 2, 1) * 0.25
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        expected = (chances / chances.sum(-1, keepdims=True)) @ v[0, :, start:end]
        np.testing.assert_allclose(y[0, start:end], expected.transpose(1, 0, 2), atol=1e-5)


def test_results_load_without_the_pass(tmp_path: Path) -> None:
    """Several surgeries in one go give a file that checker and runtime take."""
    model = text_model(tmp_path / "in")
    surgeries = [
        {"surgeon": "RenameInputs", "old_names": ["input_ids"], "new_names": ["ids"]},
        {"surgeon": "InferShapes"},
        {"surgeon": "MatMulToTransposeMatMul"},
        {"surgeon": "DeduplicateNodes"},
    ]
    events = Events()
    after = run_pass("GraphSurgeries", model, events, surgeries=surgeries)
    onnx.checker.check_model(after.file, full_check=True)
    assert ort.InferenceSession(str(after.file)).get_inputs()[0].name == "ids"
    assert "MatMulToTransposeMatMul: 2 changes" in events.texts("note")
