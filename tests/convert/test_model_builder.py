"""ModelBuilder on tiny models: what onnxruntime-genai makes of them, and that it can load and run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import HfModel, OnnxModel
from olive_like.cli.test_model import tiny
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.convert.model_builder import ModelBuilder
from tests import tiny_models
from tests.convert.helpers import Events, convert, tiny_adapter

pytest.importorskip("onnxruntime_genai")
pytestmark = pytest.mark.heavy


def build(model: Any, output: Path, events: Events | None = None, **settings: Any) -> OnnxModel:
    output.mkdir(parents=True)
    events = events if events is not None else Events()
    context = Context(
        output=output, scratch=output.parent / "scratch", emit=lambda kind, data: events.append((kind, dict(data)))
    )
    result = ModelBuilder().apply([model], ModelBuilder.Config(**settings), context)
    assert isinstance(result, OnnxModel)
    return result


def genai_tokens(folder: Path, prompt: list[int], count: int) -> list[int]:
    import onnxruntime_genai as og

    model = og.Model(str(folder))
    options = og.GeneratorParams(model)
    options.set_search_options(max_length=len(prompt) + count, do_sample=False)
    generator = og.Generator(model, options)
    generator.append_tokens(prompt)
    made = []
    while len(made) < count and not generator.is_done():
        generator.generate_next_token()
        made.append(int(generator.get_next_tokens()[0]))
    return made


def torch_tokens(model: Any, prompt: list[int], count: int) -> list[int]:
    import torch

    from olive_like.passes._models import load_model
    from olive_like.passes.convert._check_export import greedy

    return greedy(load_model(model, "text-generation", "float32"), torch.tensor([prompt]), count)


@pytest.mark.parametrize("make", ["tiny_llama", "tiny_qwen2", "tiny_phi3"])
def test_fp32_is_the_model_and_genai_runs_it(tmp_path: Path, make: str) -> None:
    model = getattr(tiny_models, make)(tmp_path / "in")
    events = Events()
    result = build(model, tmp_path / "out", events, precision="fp32", verify="fail")
    assert result.is_genai
    assert result.attributes["verified"]["greedy_tokens"] == 1.0
    assert events.metric("verify.max_abs_diff") < 1e-4
    prompt = [11, 12, 13, 14]
    made = genai_tokens(result.path, prompt, 8)
    assert made == torch_tokens(model, prompt, 8)[: len(made)]
    assert made


def test_int4_with_olives_settings(tmp_path: Path) -> None:
    result = build(
        tiny_models.tiny_llama(tmp_path / "in"),
        tmp_path / "out",
        precision="int4",
        int4_block_size=32,
        int4_accuracy_level=4,
        int4_algo_config="default",
        int4_op_types_to_quantize=["MatMul", "Gather"],
        int4_nodes_to_exclude=["/lm_head/MatMul"],
        search={"max_length": 99, "temperature": 0.5},
        extra_options={"include_hidden_states": 1},
    )
    import onnx

    nodes = {node.name: node for node in onnx.load(result.file, load_external_data=False).graph.node}
    quantised = [node for node in nodes.values() if node.op_type == "MatMulNBits"]
    assert quantised
    assert {a.i for node in quantised for a in node.attribute if a.name == "block_size"} == {32}
    assert any(node.op_type == "GatherBlockQuantized" for node in nodes.values())
    assert nodes["/lm_head/MatMul"].op_type == "MatMul"
    search = json.loads((result.path / "genai_config.json").read_text())["search"]
    assert (search["max_length"], search["temperature"]) == (99, 0.5)
    assert "hidden_states" in {value["name"] for value in result.attributes["io"]["outputs"]}


def test_what_the_builder_leaves_alone_is_said(tmp_path: Path) -> None:
    events = Events()
    build(
        tiny_models.tiny_llama(tmp_path / "in"),
        tmp_path / "out",
        events,
        precision="int4",
        int4_algo_config="rtn",
        int4_op_types_to_quantize=["MatMul", "Gather"],
    )
    assert any("quantised no Gather" in text for text in events.texts("warning"))


def test_a_speech_model_is_two_graphs(tmp_path: Path) -> None:
    model = HfModel(tiny("openai/whisper-tiny", None, str(tmp_path)), {"task": "automatic-speech-recognition"})
    built = build(model, tmp_path / "out", precision="fp32", verify="fail")
    assert [entry["name"] for entry in built.attributes["components"]] == ["encoder", "decoder"]
    assert built.attributes["task"] == "automatic-speech-recognition"
    assert built.attributes["verified"]["max_diff_below"] <= 1e-4
    assert built.attributes["verified"]["top1_agreement"] == 1


@pytest.mark.parametrize("name", ["google/gemma-3-1b-it", "Qwen/Qwen2.5-VL-3B", "Qwen/Qwen3-VL-2B", "Qwen/Qwen3.5-2B"])
def test_text_of_newer_models(tmp_path: Path, name: str) -> None:
    """Windows of two kinds, positions by axis, layers that remember a state instead of keys and values."""
    built = build(HfModel(tiny(name, None, str(tmp_path))), tmp_path / "out", precision="fp32")
    assert built.attributes["verified"]["top1_agreement"] == 1
    assert built.attributes["verified"]["max_diff_below"] <= 1e-3
    assert built.attributes["verified"]["greedy_tokens"] == 1


def test_an_adapter_is_merged_first(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = tiny_models.tiny_llama(tmp_path / "in")
    stored = AutoModelForCausalLM.from_pretrained(base.path, dtype="bfloat16")
    stored.save_pretrained(base.path)  # what an adapter adds is not to be rounded as the base is
    adapter = tiny_adapter(base, tmp_path / "adapter")
    result = build(adapter, tmp_path / "out", precision="fp32", verify="fail")
    assert result.attributes["verified"]["greedy_tokens"] == 1.0


def test_metadata_for_a_graph_that_is_there(tmp_path: Path) -> None:
    model = tiny_models.tiny_llama(tmp_path / "in")
    exported = convert(model, tmp_path / "onnx")
    result = build(exported, tmp_path / "out", precision="fp32", metadata_only=True, search={"max_length": 64})
    assert result.is_genai
    prompt = [11, 12, 13, 14]
    made = genai_tokens(result.path, prompt, 8)
    assert made
    assert made == torch_tokens(model, prompt, 8)[: len(made)]


def test_an_architecture_that_the_builder_lacks_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="does not know GPT2LMHeadModel") as caught:
        build(tiny_models.tiny_gpt2(tmp_path / "in"), tmp_path / "out", precision="fp32")
    assert "OnnxConversion" in caught.value.hint


def test_what_excludes_each_other_is_a_problem() -> None:
    config = ModelBuilder.Config(precision="int8", use_qdq=True, exclude_lm_head=True, include_hidden_states=True)
    assert len(ModelBuilder.problems(config, [])) == 2
    assert ModelBuilder.problems(ModelBuilder.Config(precision="fp32"), [OnnxModel])


def test_phi3_without_long_rope_is_told_so_by_its_two_lengths() -> None:
    from olive_like.passes.convert._model_builder import _repaired

    plain = {"model_type": "phi3", "max_position_embeddings": 512, "original_max_position_embeddings": 4096}
    assert (_repaired(plain) or {})["original_max_position_embeddings"] == 512
    assert _repaired({**plain, "rope_parameters": {"rope_type": "longrope"}}) is None
    assert _repaired({**plain, "model_type": "llama"}) is None
