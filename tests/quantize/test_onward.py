"""What a quantised model is good for afterwards: other passes load it, and ModelBuilder takes it as it is."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime_genai")

import onnx  # noqa: E402

from olive_like.passes import registry  # noqa: E402
from olive_like.passes._models import load_model  # noqa: E402
from olive_like.passes.base import Context  # noqa: E402
from olive_like.passes.quantize._dequant import load_quantized  # noqa: E402
from tests.quantize.tools import calibration, config, logits, run  # noqa: E402
from tests.tiny_models import tiny_llama, tiny_phi3  # noqa: E402

SIZES = {"hidden_size": 64, "head_dim": 16, "intermediate_size": 128}


def _build(model, where, **settings):
    (where / "out").mkdir(parents=True)
    (where / "scratch").mkdir()
    cls = registry.load("ModelBuilder")
    context = Context(where / "out", where / "scratch")
    return cls().apply([model], cls.Config(**({"precision": "int4"} | settings)), context)


def _quantised_nodes(built):
    graph = onnx.load(str(built.file), load_external_data=False).graph
    found = {}
    for node in graph.node:
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized", "MatMul", "Gather"):
            attributes = {a.name: a.i for a in node.attribute}
            found[node.name] = (node.op_type, attributes.get("bits"), attributes.get("block_size"))
    return found


def _onnx_logits(built, tokens):
    kv = built.attributes["kv_cache"]
    heads = (kv["heads"], 0, kv["head_size"])
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(str(built.file), providers=["CPUExecutionProvider"])
    feed = {"input_ids": tokens.numpy(), "attention_mask": numpy.ones(tokens.shape, dtype=numpy.int64)}
    for entry in session.get_inputs():
        if entry.name.startswith("past_key_values"):
            kind = numpy.float16 if "float16" in entry.type else numpy.float32
            feed[entry.name] = numpy.zeros((1, *heads), dtype=kind)
        elif entry.name == "position_ids":
            feed[entry.name] = numpy.arange(tokens.shape[1], dtype=numpy.int64)[None]
    return torch.tensor(session.run(["logits"], feed)[0]).float()


def _same_numbers(built, model):
    tokens = torch.randint(5, 400, (1, 12), generator=torch.Generator().manual_seed(2))
    network = load_quantized(model.path)
    with torch.inference_mode():
        want = network(tokens).logits
    got = _onnx_logits(built, tokens)
    assert torch.allclose(got, want, atol=0.01 * want.abs().max().item())


def test_load_model_widens_it(tmp_path):
    model, _ = run("Rtn", tiny_llama(tmp_path / "model"), tmp_path / "run", group_size=32)
    assert torch.equal(logits(load_model(model, dtype="float32")), logits(load_quantized(model.path)))


@pytest.mark.parametrize("make", [tiny_llama, tiny_phi3])
@pytest.mark.parametrize(("name", "bits"), [("Gptq", 4), ("Rtn", 8), ("Rtn", 2)])
def test_the_builder_keeps_every_bit(make, name, bits, tmp_path):
    if make is tiny_phi3 and bits == 2:
        pytest.skip("one architecture is enough for two bits")
    source = make(tmp_path / "model", **SIZES) if make is tiny_llama else make(tmp_path / "model")
    data = calibration(tmp_path / "text") if name == "Gptq" else None
    model, _ = run(name, source, tmp_path / "run", data, bits=bits, group_size=32)
    built = _build(model, tmp_path / "built")
    nodes = {name: found for name, found in _quantised_nodes(built).items() if "/layers." in name}
    assert nodes
    assert set(nodes.values()) == {("MatMulNBits", bits, 32)}


def test_groups_that_do_not_divide_are_split_and_not_changed(tmp_path):
    source = tiny_llama(
        tmp_path / "model", hidden_size=96, num_attention_heads=3, num_key_value_heads=1, intermediate_size=160
    )
    model, _ = run("Rtn", source, tmp_path / "run", group_size=64, lm_head=True)
    built = _build(model, tmp_path / "built")
    assert {found for name, found in _quantised_nodes(built).items() if "/layers." in name} == {("MatMulNBits", 4, 32)}
    _same_numbers(built, model)


def test_mixed_bits_then_head_and_embedding(tmp_path):
    source = tiny_llama(tmp_path / "model", tie_word_embeddings=True, num_hidden_layers=4, **SIZES)
    data = calibration(tmp_path / "text")
    advised, _ = run(
        "SelectiveMixedPrecision", source, tmp_path / "mix", data, algorithm="k_quant_mixed", group_size=32
    )
    layers, _ = run(
        "Gptq", advised, tmp_path / "gptq", data, group_size=32, overrides={"lm_head": {"bits": 8}},
        modules_to_not_convert=["lm_head"],
    )  # fmt: skip
    model, _ = run("Rtn", layers, tmp_path / "rtn", bits=8, group_size=32, lm_head=True, embeds=True)
    assert config(model)["tie_word_embeddings"] is True
    built = _build(model, tmp_path / "built")
    kinds = _quantised_nodes(built)
    assert {bits for op, bits, _ in kinds.values() if op == "MatMulNBits"} == {4, 8}
    _same_numbers(built, model)


@pytest.mark.parametrize("tied", [True, False])
def test_a_vocabulary_of_an_odd_length(tied, tmp_path):
    dense = ["/lm_head/MatMul", "/model/embed_tokens/Gather"]
    source = tiny_llama(tmp_path / "model", tie_word_embeddings=tied, vocab_size=413, **SIZES)
    model, _ = run("Rtn", source, tmp_path / "run", bits=8, group_size=32, lm_head=True, embeds=tied)
    built = _build(model, tmp_path / "built", int4_nodes_to_exclude=dense)
    _same_numbers(built, model)
