"""Several adapters over one base in one ONNX model: with each the graph is base + adapter, with none the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import Adapter, HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.convert.multi_adapter import MultiAdapterConversion
from olive_like.passes.convert.onnx_conversion import OnnxConversion
from olive_like.passes.onnx_graph.extract_adapters import ExtractAdapters
from tests.tiny_models import tiny_bert, tiny_gpt2, tiny_llama

pytestmark = pytest.mark.heavy

CLOSE = 1e-4


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def tuned(base: HfModel, folder: Path, seed: int, **settings: Any) -> Adapter:
    """An adapter with random weights, large enough that nobody can overlook it."""
    import torch
    from peft import LoraConfig, get_peft_model

    from olive_like.passes._models import load_model

    torch.manual_seed(seed)
    options = {"num_labels": settings.pop("labels")} if "labels" in settings else {}
    model = get_peft_model(load_model(base, new_head=True, **options), LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            parameter.data = torch.randn_like(parameter) * 0.2
        elif "magnitude" in name:
            parameter.data = parameter.data * (1 + 0.3 * torch.rand_like(parameter))
    model.save_pretrained(folder)
    return Adapter(folder, {}, refs={"base": base})


def context(folder: Path) -> Context:
    output, scratch = folder / "output", folder / "scratch"
    output.mkdir(parents=True)
    scratch.mkdir()
    return Context(output, scratch)


def logits_of_peft(base: HfModel, adapter: Adapter | None, ids: Any) -> Any:
    """The truth: transformers and peft, without any code of the pass."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if base.task == "text-classification" else AutoModelForCausalLM
    model = kind.from_pretrained(base.path)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter.path)
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor(ids)).logits.numpy()


def logits_of_onnx(model: OnnxModel, adapter: str | None, ids: Any) -> Any:
    """One session, the adapter switched on for the request as onnxruntime does it."""
    from olive_like.passes._onnx_runtime import Shape, load_adapter, make_feeds, open_session, run_session

    session = open_session(model.file)
    feeds = make_feeds(model.attributes["io"], Shape(len(ids), len(ids[0])), 0, 100)
    feeds["input_ids"] = ids
    return run_session(session, feeds, load_adapter(model, adapter) if adapter else None)["logits"]


def distance(model: OnnxModel, name: str | None, base: HfModel, adapter: Adapter | None) -> float:
    import numpy as np

    ids = np.random.default_rng(5).integers(5, 100, (2, 9))
    return float(np.abs(logits_of_onnx(model, name, ids) - logits_of_peft(base, adapter, ids)).max())


def test_each_adapter_and_none(llama: HfModel, tmp_path: Path) -> None:
    """Other ranks, other layers, other scales, rsLoRA and DoRA: all in one graph."""
    adapters = {
        "plain": tuned(llama, tmp_path / "plain", 1, r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
        "wide": tuned(llama, tmp_path / "wide", 2, r=8, lora_alpha=4, target_modules=["v_proj", "up_proj"],
                      use_rslora=True, rank_pattern={"up_proj": 3}),
        "dora": tuned(llama, tmp_path / "dora", 3, r=1, lora_alpha=2, target_modules=["o_proj", "v_proj"],
                      use_dora=True),
    }  # fmt: skip
    config = MultiAdapterConversion.Config(names=list(adapters), verify_tokens=0)
    made = MultiAdapterConversion().run(list(adapters.values()), config, context(tmp_path))
    assert set(made.attributes["adapters"]) == set(adapters)
    assert (made.path / "plain.onnx_adapter").is_file()
    distances = {name: distance(made, name, llama, adapter) for name, adapter in adapters.items()}
    assert max(distances.values()) < CLOSE, distances
    assert distance(made, None, llama, None) < CLOSE
    assert distance(made, "plain", llama, adapters["wide"]) > 100 * CLOSE, "the adapters can be told apart"
    assert "adapter" not in {value["name"] for value in made.attributes["io"]["inputs"]}


def test_a_classifier_beside_a_generator(llama: HfModel, tmp_path: Path) -> None:
    """An adapter that classifies brings its head: one more output has the scores, the last token's are peft's."""
    import numpy as np
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from olive_like.passes._onnx_runtime import Shape, load_adapter, make_feeds, open_session, run_session

    plain = tuned(llama, tmp_path / "plain", 1, r=4, target_modules=["q_proj"])
    classifier = tuned(
        HfModel(llama.path, {"task": "text-classification"}),
        tmp_path / "classifier", 2, labels=5, r=4, target_modules=["v_proj"], task_type="SEQ_CLS",
    )  # fmt: skip
    config = MultiAdapterConversion.Config.model_validate(
        {"adapters": {"plain": str(plain.path), "classifier": str(classifier.path)}, "verify_tokens": 0}
    )
    made = MultiAdapterConversion().run([llama], config, context(tmp_path))
    assert made.attributes["classifiers"] == {"classifier": 5}
    assert distance(made, "plain", llama, plain) < CLOSE
    assert distance(made, None, llama, None) < CLOSE

    ids = np.random.default_rng(5).integers(5, 100, (1, 9))
    model = AutoModelForSequenceClassification.from_pretrained(llama.path, num_labels=5)
    with torch.no_grad():
        model = PeftModel.from_pretrained(model, classifier.path).eval()
        wanted = model(input_ids=torch.tensor(ids)).logits.numpy()
    feeds = make_feeds(made.attributes["io"], Shape(1, 9), 0, 100) | {"input_ids": ids}
    outputs = run_session(open_session(made.file), feeds, load_adapter(made, "classifier"))
    assert np.abs(outputs["scores"][:, -1] - wanted).max() < CLOSE


def test_a_quantised_base_keeps_its_adapters(llama: HfModel, tmp_path: Path) -> None:
    """Quantisers leave alone what a request may replace."""
    import numpy as np

    from olive_like.passes.registry import load

    adapter = tuned(llama, tmp_path / "plain", 1, r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    config = MultiAdapterConversion.Config(names=["plain"], verify="off")
    made = MultiAdapterConversion().run([adapter], config, context(tmp_path / "made"))
    ids = np.random.default_rng(5).integers(5, 100, (2, 9))
    change = logits_of_onnx(made, "plain", ids) - logits_of_onnx(made, None, ids)
    for name, settings in (("OnnxBlockWiseRtnQuantization", {"bits": 8}), ("OnnxDynamicQuantization", {})):
        cls = load(name)
        small: Any = cls().run(made, cls.Config(verify="off", **settings), context(tmp_path / name))
        assert small.file.stat().st_size < made.file.stat().st_size
        got = logits_of_onnx(small, "plain", ids) - logits_of_onnx(small, None, ids)
        assert np.corrcoef(got.ravel(), change.ravel())[0, 1] > 0.98, name
    for name in ("OnnxScriptFusion", "OnnxFloatToFloat16"):
        cls = load(name)
        with pytest.raises(PassError, match="does away with the inputs of the model's adapters"):
            cls().run(made, cls.Config(), context(tmp_path / name))


def test_the_base_and_folders(tmp_path: Path) -> None:
    """A base model and named folders; GPT-2 keeps its weights the other way round, and has biases."""
    base = tiny_gpt2(tmp_path / "base")
    one = tuned(base, tmp_path / "one", 1, r=4, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True)
    two = tuned(base, tmp_path / "two", 2, r=2, lora_alpha=8, target_modules=["c_attn", "c_proj"],
                fan_in_fan_out=True, use_dora=True)  # fmt: skip
    config = MultiAdapterConversion.Config.model_validate(
        {"adapters": {"one": str(one.path), "two": {"adapter_path": str(two.path)}}, "dynamic_lora_r": False}
    )
    made = MultiAdapterConversion().run([base], config, context(tmp_path))
    assert distance(made, "one", base, one) < CLOSE
    assert distance(made, "two", base, two) < CLOSE
    assert distance(made, None, base, None) < CLOSE


def test_inputs_that_every_request_gives(tmp_path: Path) -> None:
    """Without defaults each adapter's file has something for every layer."""
    base = tiny_bert(tmp_path / "base")
    one = tuned(base, tmp_path / "one", 1, r=4, target_modules=["query"])
    two = tuned(base, tmp_path / "two", 2, r=2, target_modules=["value"], use_dora=True)
    config = MultiAdapterConversion.Config(names=["one", "two"], optional_inputs=False)
    made = MultiAdapterConversion().run([one, two], config, context(tmp_path))
    assert sum(".lora_" in value["name"] for value in made.attributes["io"]["inputs"]) == 10
    assert distance(made, "one", base, one) < CLOSE
    assert distance(made, "two", base, two) < CLOSE


def test_adapters_inside_a_checkpoint(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from olive_like.passes._adapter_convert import convert_adapter, extract_adapters
    from olive_like.passes._adapter_files import read_adapter

    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(6, dtype=np.float32).reshape(3, 2)
    tensors = {"q.weight": np.ones((3, 4), np.float32)}
    for name in ("speech", "vision"):
        tensors |= {f"l.0.q.lora_A.{name}.weight": a, f"l.0.q.lora_B.{name}.weight": b}
    (tmp_path / "model").mkdir()
    save_file(tensors, tmp_path / "model/model.safetensors")
    found = extract_adapters(tmp_path / "model", tmp_path / "out", "safetensors", "float16")
    assert set(found) == {"speech", "vision"}
    assert read_adapter(found["speech"])["l.0.q.lora_A.weight"].tolist() == a.T.tolist()

    (tmp_path / "peft").mkdir()
    save_file({"base_model.model.l.0.q.lora_A.weight": a, "base_model.model.l.0.q.lora_B.weight": b},
              tmp_path / "peft/adapter_model.safetensors")  # fmt: skip
    settings = '{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "alpha_pattern": {"0.q": 10}}'
    (tmp_path / "peft/adapter_config.json").write_text(settings)
    alone = read_adapter(convert_adapter(tmp_path / "peft", tmp_path / "alone", "numpy", "float32"))
    assert alone["l.0.q.lora_B.weight"].tolist() == (b.T * 5).tolist()
    with pytest.raises(PassError, match="is a pickle"):
        convert_adapter(tmp_path / "peft", tmp_path / "alone", "pt", "float32")


def test_a_graph_with_one_adapter_apart(tmp_path: Path) -> None:
    """OnnxConversion leaves the adapter apart, ExtractAdapters makes it an input."""
    base = tiny_bert(tmp_path / "base")
    adapter = tuned(base, tmp_path / "adapter", 1, r=4, lora_alpha=8, target_modules=["query", "value"])
    apart = OnnxConversion().run(adapter, OnnxConversion.Config(merge_adapter_weights=False), context(tmp_path / "a"))
    apart = OnnxModel(apart.path, {"file": apart.attributes["file"]})  # as a user's own file comes
    made = ExtractAdapters().run(apart, ExtractAdapters.Config(), context(tmp_path / "b"))
    assert made.attributes["verified"]["max_diff_below"] <= 1e-5
    assert distance(made, "adapter_weights", base, adapter) < CLOSE
    assert distance(made, None, base, None) < CLOSE


@pytest.mark.parametrize("form", ["safetensors", "numpy", "onnx_adapter"])
def test_formats_are_read_back(form: str, tmp_path: Path) -> None:
    import numpy as np

    from olive_like.passes._adapter_files import read_adapter, write_adapter

    weights = {"x.lora_B.weight": np.ones((2, 3), np.float32), "x.lora_A.weight": np.arange(8.0).reshape(4, 2)}
    weights["x.lora_A.weight"] = weights["x.lora_A.weight"].astype(np.float16)
    first = write_adapter(weights, tmp_path / "first.v1", form)
    second = write_adapter(dict(reversed(weights.items())), tmp_path / "second", form)
    assert first.read_bytes() == second.read_bytes()
    back = read_adapter(first)
    assert {name: (value.dtype, value.tolist()) for name, value in back.items()} == {
        name: (value.dtype, value.tolist()) for name, value in weights.items()
    }


def test_what_cannot_be_switched_is_named(llama: HfModel, tmp_path: Path) -> None:
    whole = tuned(llama, tmp_path / "whole", 1, r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    with pytest.raises(PassError, match=r"whole layers of its own.*lm_head"):
        MultiAdapterConversion().run([whole], MultiAdapterConversion.Config(names=["x"]), context(tmp_path / "a"))
    half = MultiAdapterConversion.Config(torch_dtype="bfloat16")
    with pytest.raises(PassError, match="files of adapters hold no bfloat16"):
        MultiAdapterConversion().run([whole], half, context(tmp_path / "half"))
    plain = OnnxConversion().run(llama, OnnxConversion.Config(verify="off"), context(tmp_path / "b"))
    with pytest.raises(PassError, match="no adapter weights of its own"):
        ExtractAdapters().run(plain, ExtractAdapters.Config(), context(tmp_path / "c"))
    other = tiny_llama(tmp_path / "other", hidden_size=128)
    two = [tuned(m, tmp_path / n, 1, r=2, target_modules=["q_proj"]) for m, n in ((llama, "x"), (other, "y"))]
    with pytest.raises(PassError, match="different base models"):
        MultiAdapterConversion().run(two, MultiAdapterConversion.Config(), context(tmp_path / "d"))


def test_wrong_settings_are_found_before_anything_runs() -> None:
    problems = MultiAdapterConversion.problems
    config = MultiAdapterConversion.Config
    assert "no adapter" in problems(config(), [HfModel])[0]
    assert "2 names, but 1" in problems(config(names=["a", "b"]), [Adapter])[0]
    assert "cannot be the name" in problems(config(names=["../a"]), [Adapter])[0]
    assert not problems(config(names=["a", "b"]), [Adapter, Adapter])
