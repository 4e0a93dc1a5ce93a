"""Which passes are chosen for which model, precision and device: a valid plan for each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import olive_like
from olive_like.cli import flags
from olive_like.cli.optimize import configure, workflow
from olive_like.errors import WorkflowError
from olive_like.search.rules import FLOATS, RULES, Wish, choose, precision_for

MODELS = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "phi3": {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3"},
    "bert": {"architectures": ["BertForSequenceClassification"], "model_type": "bert"},
    "vit": {"architectures": ["ViTForImageClassification"], "model_type": "vit"},
}
DECODER = {
    "fp32": ["OnnxConversion", "OnnxScriptFusion"],
    "fp16": ["OnnxConversion", "OnnxScriptFusion", "OnnxFloatToFloat16"],
    "int8": ["OnnxConversion", "OnnxScriptFusion", "OnnxBlockWiseRtnQuantization"],
    "int4": ["OnnxConversion", "OnnxScriptFusion", "OnnxKQuantQuantization"],
}
ENCODER = {
    "fp32": ["OnnxConversion", "OrtTransformersOptimization"],
    "fp16": ["OnnxConversion", "OrtTransformersOptimization", "OnnxFloatToFloat16"],
    "int8": ["OnnxConversion", "OrtTransformersOptimization", "OnnxDynamicQuantization"],
    "int4": ["OnnxConversion", "OrtTransformersOptimization", "OnnxBlockWiseRtnQuantization"],
}
ON_GPU = {("decoder", "fp16"): ["OnnxConversion", "OnnxScriptFusion"]}  # exported in float16


def parsed_by(configure_: Callable[[argparse.ArgumentParser], None], *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure_(parser)
    return flags.parse(parser, list(arguments))


def parsed(*arguments: str) -> argparse.Namespace:
    return parsed_by(configure, *arguments)


def model(folder: Path, name: str) -> Path:
    (folder / "config.json").write_text(json.dumps(MODELS[name]))
    return folder


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("precision", list(DECODER))
@pytest.mark.parametrize("name", MODELS)
def test_every_model_precision_and_device_has_a_valid_plan(tmp_path, name, precision, device):
    arguments = ["-m", str(model(tmp_path, name)), "--precision", precision, "--device", device]
    made, why = workflow(parsed(*arguments))
    assert why
    kind = "encoder" if name in ("bert", "vit") else "decoder"
    expected = {"encoder": ENCODER, "decoder": DECODER}[kind][precision]
    if device == "gpu":
        expected = ON_GPU.get((kind, precision), expected)
    assert [step["type"] for step in made["passes"].values()] == expected
    plan = olive_like.plan(made, cache_dir=tmp_path / "cache")
    assert list(plan.graph.nodes) == list(made["passes"])
    assert {node.system for node in plan.graph.nodes.values()} == {"local" if device == "cpu" else "target"}


def test_every_rule_is_reached_and_every_precision_has_one():
    reached = set()
    for family in ("language", "text", "vision", "seq2seq", "onnx", "other"):
        for precision in (*FLOATS, "int8", "int4", "nf4", "int16"):
            for device in ("cpu", "gpu"):
                for exporter in (None, "model_builder", "dynamo_exporter"):
                    wish = Wish(family, device, precision, exporter)
                    fitting = [rule for rule in RULES if rule.fits(wish)]
                    reached.update(rule.why for rule in fitting[:1])
                    if exporter is None:
                        assert choose(wish).passes
    assert reached == {rule.why for rule in RULES}


def test_what_is_made_in_place_of_another_precision_is_said():
    assert "int16 is not made here, int8 is" in choose(Wish("text", precision="int16")).why
    assert "nf4 is not made here, int4 is" in choose(Wish("language", precision="nf4")).why
    assert "bf16 is not made here, fp16 is" in choose(Wish("vision", precision="bf16")).why
    assert "not made" not in choose(Wish("language", "gpu", precision="bf16")).why
    assert "not made" not in choose(Wish("vision", precision="int8")).why


def test_what_no_rule_fits_is_named():
    with pytest.raises(WorkflowError, match="no rule for a vision model in int4 on cpu with model_builder"):
        choose(Wish("vision", precision="int4", exporter="model_builder"))
    with pytest.raises(WorkflowError, match="no rule for a language model in fp13"):
        choose(Wish("language", precision="fp13"))


def test_details_of_the_wish_are_in_the_passes(tmp_path):
    folder = model(tmp_path, "bert")
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": 0}\n')
    made, _ = workflow(
        parsed(
            "-m", str(folder), "--precision", "int8", "--act-precision", "uint8", "--data-name",
            str(tmp_path / "rows.jsonl"), "--dim-param", "batch_size", "--dim-value", "1", "--use-qdq-encoding",
            "--goal", "size_on_disk=1000", "--goal", "accuracy_score=0.9",
        )
    )  # fmt: skip
    quantize = made["passes"]["quantize"]
    assert quantize["type"] == "OnnxStaticQuantization"
    assert (quantize["activation_type"], quantize["quant_format"]) == ("uint8", "QDQ")
    assert made["passes"]["fixed_shape"]["dim_value"] == [1]
    assert made["evaluators"]["goals"]["data_config"] == "calibration"
    assert made["evaluators"]["goals"]["metrics"][1]["sub_types"][0]["goal"]["value"] == 0.9
    assert olive_like.check(made).ok


def test_memory_chooses_the_precision(tmp_path):
    assert [precision_for(int(gib * 2**30), 1_000_000_000) for gib in (5, 3, 1.5, 0.9)] == [
        "fp32", "fp16", "int8", "int4",
    ]  # fmt: skip
    with pytest.raises(WorkflowError, match="do not fit into"):
        precision_for(1 << 20, 1_000_000_000)
    header = json.dumps({"w": {"dtype": "F32", "shape": [1024, 1024], "data_offsets": [0, 4 << 20]}}).encode()
    folder = model(tmp_path, "llama")
    weights = len(header).to_bytes(8, "little") + header + bytes(4 << 20)
    (folder / "model.safetensors").write_bytes(weights)
    made, why = workflow(parsed("-m", str(folder), "--memory", "3MB"))
    assert "OnnxFloatToFloat16" in [step["type"] for step in made["passes"].values()]
    assert "fp16 is the finest that fits into 3MB" in why
    with pytest.raises(WorkflowError, match="--memory"):
        workflow(parsed("-m", str(folder), "--memory", "much"))


def test_a_bad_goal_is_named(tmp_path):
    folder = str(model(tmp_path, "bert"))
    for goal, said in (("latency", "not METRIC=VALUE"), ("latensy=3", "no metric 'latensy'")):
        with pytest.raises(WorkflowError, match=said):
            workflow(parsed("-m", folder, "--goal", goal))


def test_dry_run_prints_what_would_run(tmp_path, capsys, monkeypatch):
    import yaml

    from olive_like.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    model(tmp_path / "m", "llama")
    assert main(["optimize", "-m", "m", "--precision", "int4", "--dry-run", "-o", "out/deep"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert [step["type"] for step in printed["passes"].values()] == DECODER["int4"]
    written = yaml.safe_load((tmp_path / "out" / "deep" / "workflow.yaml").read_text())
    assert written == printed
    assert (tmp_path / "out" / "deep" / written["input_model"]["model_path"]).resolve() == tmp_path / "m"
