"""Every method trains, gives the same bytes for the same seed, and can be loaded and merged."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import Adapter, Dataset, HfModel
from olive_like.errors import PassError
from olive_like.passes.finetune import adapters
from olive_like.passes.finetune.full import FullFinetune
from olive_like.passes.finetune.merge import MergeAdapterWeights
from olive_like.passes.weights import read_folder
from tests.finetune.helpers import FILMS, PAIRS, SUMS, Said, prepare, read_json, run, same_files
from tests.tiny_models import tiny_bert, tiny_gpt2, tiny_llama, tiny_t5

pytestmark = pytest.mark.heavy

QUICK: dict[str, Any] = {"max_steps": 12, "learning_rate": 1e-2, "eval_steps": 12, "save_steps": 100}
SMALL: dict[str, Any] = {"r": 4, "alpha": 8}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def sums(llama: HfModel, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(llama, tmp_path_factory.mktemp("data") / "sums", rows=SUMS, eval_fraction=0.2)


def logits(artifact: Any, **options: Any) -> Any:
    import torch

    from olive_like.passes._models import load_model, load_tokenizer

    encoded = load_tokenizer(artifact)("what is machine learning?", return_tensors="pt")
    encoded.pop("token_type_ids", None)
    with torch.no_grad():
        return load_model(artifact, dtype="float32", **options)(**encoded).logits


@pytest.mark.parametrize("name", ["LoRA", "DoRA", "RsLoRA", "PiSSA", "LoHa", "LoKr", "IA3", "QLoRA", "LoftQ"])
def test_a_method_learns_repeats_itself_and_merges(name: str, llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    if name in ("QLoRA", "LoftQ"):
        pytest.importorskip("bitsandbytes")
    cls = getattr(adapters, name)
    settings = QUICK | ({} if name == "IA3" else SMALL)
    first, said = run(cls, llama, tmp_path / "a", sums, **settings)
    second, _ = run(cls, llama, tmp_path / "b", sums, **settings)
    assert isinstance(first, Adapter)
    assert first.base is llama
    assert same_files(first.path, second.path) == []
    merged, _ = run(MergeAdapterWeights, first, tmp_path / "c")
    here = logits(first)
    assert (here - logits(merged)).abs().max() < 1e-5
    assert (here - logits(llama)).abs().max() > 1e-3
    # What was trained is what was written: the loss of the loaded adapter is that of the training's end.
    # (A base in 4 bits while it is trained makes the loss close and not the same.)
    near = 0.05 if name in ("QLoRA", "LoftQ") else 1e-4
    assert eval_loss(first, sums) == pytest.approx(said.metrics()["eval_loss"], abs=near)
    assert eval_loss(first, sums) < eval_loss(llama, sums) - (0.001 if name == "IA3" else 0.05)


def eval_loss(artifact: Any, data: Dataset) -> float:
    """The loss, the plain way: one example at a time."""
    import torch

    from olive_like.data._tokenized import read
    from olive_like.passes._models import load_model

    model = load_model(artifact, dtype="float32")
    total, count = 0.0, 0
    for record in read(data, "eval"):
        labels = torch.tensor([record["labels"]])
        with torch.no_grad():
            output = model(input_ids=torch.tensor([record["input_ids"]]), labels=labels)
        items = int((labels[:, 1:] != -100).sum())
        total, count = total + float(output.loss) * items, count + items
    return total / count


def test_another_seed_gives_another_adapter(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    made = [
        run(adapters.LoRA, llama, tmp_path / str(seed), sums, seed=seed, **SMALL, max_steps=2)[0] for seed in (1, 2)
    ]
    assert "adapter_model.safetensors" in same_files(made[0].path, made[1].path)


def test_full_fine_tuning(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    made, said = run(FullFinetune, llama, tmp_path / "a", sums, **QUICK)
    again, _ = run(FullFinetune, llama, tmp_path / "b", sums, **QUICK)
    assert isinstance(made, HfModel)
    assert same_files(made.path, again.path) == []
    assert eval_loss(made, sums) == pytest.approx(said.metrics()["eval_loss"], abs=1e-4)
    assert eval_loss(made, sums) < eval_loss(llama, sums) - 1


def test_bottleneck_adapters_load_and_do_not_merge(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    made, said = run(adapters.Adapter, llama, tmp_path / "a", sums, size=8, **QUICK)
    assert eval_loss(made, sums) == pytest.approx(said.metrics()["eval_loss"], abs=1e-4)
    assert eval_loss(made, sums) < eval_loss(llama, sums) - 0.05
    with pytest.raises(PassError, match="cannot be merged"):
        run(MergeAdapterWeights, made, tmp_path / "b")
    with pytest.raises(PassError, match="for another base model"):
        run(
            adapters.Adapter,
            tiny_llama(tmp_path / "wide", hidden_size=128),
            tmp_path / "c",
            sums,
            init_adapter=made.path,
        )


def test_going_on_from_an_adapter(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    first, before = run(adapters.LoRA, llama, tmp_path / "a", sums, **QUICK, **SMALL)
    second, after = run(adapters.LoRA, first, tmp_path / "b", sums, **QUICK, **SMALL)
    third, _ = run(adapters.LoRA, llama, tmp_path / "c", sums, init_adapter=first.path, **QUICK, **SMALL)
    assert after.metrics()["eval_loss"] < before.metrics()["eval_loss"]
    assert second.base is llama
    assert same_files(second.path, third.path) == ["train.json"]  # it says where the training came from


def test_classes_and_their_head(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert", labels=None)
    films = prepare(bert, tmp_path / "films", rows=FILMS, eval_fraction=0.2, stratify_by="label")
    made, said = run(
        adapters.LoRA, bert, tmp_path / "a", films, **SMALL, num_train_epochs=12, learning_rate=2e-2, save_steps=500
    )
    assert made.task == "text-classification"
    assert made.attributes["labels"] == ["meh", "neg", "pos"]
    assert said.metrics()["eval_accuracy"] >= 0.9
    merged, _ = run(MergeAdapterWeights, made, tmp_path / "b")
    assert (logits(made) - logits(merged)).abs().max() < 1e-5
    assert read_json(merged.path / "config.json")["id2label"] == {"0": "meh", "1": "neg", "2": "pos"}


def test_what_starts_with_a_part_of_the_base_keeps_its_head_and_goes_on(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert", labels=None)
    films = prepare(bert, tmp_path / "films", rows=FILMS, eval_fraction=0.2)
    settings = {**SMALL, "learning_rate": 2e-2, "save_steps": 500}
    first, _ = run(adapters.PiSSA, bert, tmp_path / "a", films, **settings, num_train_epochs=12)
    assert any("classifier" in name for name in read_folder(first.path))
    second, said = run(adapters.PiSSA, first, tmp_path / "b", films, **settings, max_steps=1, logging_steps=1)
    assert said.losses()[0] < 0.5 * math.log(3)  # what the first has learnt is there
    assert read_json(second.path / "adapter_config.json")["r"] == 2 * SMALL["r"]


def test_loftq_starts_nearer_to_the_base_than_its_four_bits(llama: HfModel) -> None:
    bnb, torch = pytest.importorskip("bitsandbytes"), pytest.importorskip("torch")
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune import _loftq, _qlora
    from olive_like.passes.finetune._build import with_adapter

    config = adapters.LoftQ.Config.model_validate({"r": 16, "lora_dropout": 0.0})
    whole = load_model(llama, dtype="float32").model.layers[0].self_attn.q_proj.weight
    lost = []
    for turns in (0, 1, 5):
        base = load_model(llama, quantization_config=_qlora.quantization(config, torch.float32))
        model = with_adapter(base, "loftq", llama, config, "text-generation", None)
        _loftq.start(model, llama.path, turns)
        layer = model.base_model.model.model.layers[0].self_attn.q_proj
        held = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        lost.append(float((whole - held - layer.get_delta_weight("default")).norm().detach()))
    assert lost[2] < lost[1] < 0.9 * lost[0]


def test_loftq_refuses_weights_that_are_turned_round(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    torch = pytest.importorskip("torch")
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune import _loftq, _qlora
    from olive_like.passes.finetune._build import with_adapter

    gpt2 = tiny_gpt2(tmp_path / "gpt2")
    config = adapters.LoftQ.Config.model_validate({"r": 4})
    base = load_model(gpt2, quantization_config=_qlora.quantization(config, torch.float32))
    model = with_adapter(base, "loftq", gpt2, config, "text-generation", None)
    with pytest.raises(PassError, match="turned round"):
        _loftq.start(model, gpt2.path, 1)


def test_an_existing_head_keeps_its_order(tmp_path: Path) -> None:
    names = {0: "pos", 1: "neg", 2: "meh"}
    bert = tiny_bert(tmp_path / "bert", labels=3, id2label=names, label2id={v: k for k, v in names.items()})
    films = prepare(bert, tmp_path / "films", rows=FILMS)
    made, _ = run(adapters.LoRA, bert, tmp_path / "a", films, **SMALL, max_steps=1)
    assert made.attributes["labels"] == ["pos", "neg", "meh"]


@pytest.mark.parametrize("method", ["LoRA", "Adapter"])
def test_tags_questions_and_sequences(method: str, tmp_path: Path) -> None:
    cls = getattr(adapters, method)
    bert, t5 = tiny_bert(tmp_path / "bert", labels=None), tiny_t5(tmp_path / "t5")
    tags = [{"tokens": ["anna", "flew", str(i)], "tags": ["PER", "O", "O"]} for i in range(30)]
    asks = [{"question": "who?", "context": f"{i} anna flew", "answers": "anna"} for i in range(30)]
    for model, rows, metric, least in (
        (bert, tags, "accuracy", 0.9),
        (bert, asks, "exact_match", 0.9),
        (t5, SUMS, "", 0),
    ):
        folder = tmp_path / (metric or "seq")
        data = prepare(model, folder / "data", rows=rows, eval_fraction=0.2)
        made, said = run(
            cls, model, folder / "a", data, max_steps=30, learning_rate=1e-2, eval_steps=15, save_steps=100
        )
        assert isinstance(made, Adapter)
        losses = said.losses("eval_loss")
        assert losses[-1] < losses[0]
        if metric:
            assert said.metrics()[f"eval_{metric}"] >= least


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge", "ipo"])
def test_preferences(make: Any, loss_type: str, tmp_path: Path) -> None:
    model = make(tmp_path / "model")
    data = prepare(model, tmp_path / "data", rows=PAIRS, eval_fraction=0.25)
    settings = {"loss_type": loss_type, "beta": 0.5, "max_steps": 15, "learning_rate": 5e-3, "eval_steps": 5}
    made, said = run(adapters.DPO, model, tmp_path / "a", data, **SMALL, **settings, save_steps=100)
    assert isinstance(made, Adapter)
    assert said.metrics()["eval_accuracy"] == 1.0
    assert said.losses("eval_margin")[-1] > said.losses("eval_margin")[0] > 0


def test_the_wrong_data_for_the_pass(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    pairs = prepare(llama, tmp_path / "pairs", rows=PAIRS)
    with pytest.raises(PassError, match="does not train on preference data"):
        run(adapters.LoRA, llama, tmp_path / "a", pairs, max_steps=1)
    with pytest.raises(PassError, match="DPO trains on preference pairs, the data are lm"):
        run(adapters.DPO, llama, tmp_path / "b", sums, max_steps=1)
    other = adapters.DPO.Config(train_data_config="d", loss="mine.py:Loss", label_smoothing_factor=0.1)
    assert sorted(problem.split()[0] for problem in adapters.DPO.problems(other, [])) == [
        "`label_smoothing_factor`",
        "`loss`",
    ]
    with pytest.raises(PassError, match="data are for text-generation, the task is text-classification"):
        run(adapters.LoRA, llama, tmp_path / "c", sums, task="classification", max_steps=1)


def test_what_is_written_beside_the_weights(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    made, _ = run(adapters.LoRA, llama, tmp_path / "a", sums, **QUICK, **SMALL)
    assert {file.name for file in made.path.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json",
        "tokenizer_config.json", "train.json",
    }  # fmt: skip
    train = read_json(made.path / "train.json")
    assert train["settings"]["r"] == 4
    assert train["data"] == {"train_data_config": "d" * 64}
    assert train["base"] == llama.digest
    assert [entry["step"] for entry in train["history"] if "eval_loss" in entry] == [12]
    for name in ("README.md", "train.json", "adapter_config.json"):
        assert str(tmp_path) not in (made.path / name).read_text()


def test_progress_has_what_a_reader_of_the_log_needs(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    _, said = run(adapters.LoRA, llama, tmp_path / "a", sums, **SMALL, max_steps=4, logging_steps=1, save_steps=100)
    steps = [values for kind, values in said.events if kind == "progress" and "loss" in values]
    assert [values["step"] for values in steps] == [1, 2, 3, 4]
    assert set(steps[0]) >= {"loss", "learning_rate", "grad_norm", "tokens_per_second", "memory", "total"}


def test_layers_that_are_not_held_in_four_bits(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    bnb, torch = pytest.importorskip("bitsandbytes"), pytest.importorskip("torch")
    from olive_like.passes._models import load_config, load_model
    from olive_like.passes.finetune import _qlora

    settings = load_config(llama)
    for names, held in ((["v_proj", "layers.0"], 1 * 6), (["mlp"], 2 * 4), ([r"model\.layers\.1\..*"], 7)):
        whole = _qlora.kept_whole(names, settings, "text-generation", False)
        config = adapters.QLoRA.Config.model_validate({"skip_modules": names})
        model = load_model(llama, quantization_config=_qlora.quantization(config, torch.float32, whole))
        assert sum(isinstance(layer, bnb.nn.Linear4bit) for layer in model.modules()) == held
    with pytest.raises(PassError, match=r"skip_modules: .* 'v_prj'; did you mean v_proj\?"):
        run(adapters.QLoRA, llama, tmp_path / "typo", sums, **SMALL, skip_modules=["v_prj"])
    made, _ = run(adapters.QLoRA, llama, tmp_path / "run", sums, **SMALL, skip_modules="v_proj,k_proj", max_steps=2)
    assert made.attributes["quantization"] == {"type": "nf4", "bits": 4, "skip": ["k_proj", "v_proj"]}


@pytest.mark.parametrize(
    ("cls", "words"), [(adapters.PiSSA, "a part of the base has none"), (adapters.LoHa, "`rank_d")]
)
def test_a_dropout_that_an_adapter_has_not(cls: Any, words: str, llama: HfModel, tmp_path: Path) -> None:
    from olive_like.passes._models import load_model
    from olive_like.passes.base import Context
    from olive_like.passes.finetune._build import with_adapter

    said = Said()
    config = cls.Config.model_validate({"r": 4, "lora_dropout": 0.1})
    context = Context(tmp_path, tmp_path, emit=said)
    with_adapter(load_model(llama, dtype="float32"), cls.method, llama, config, "text-generation", context)
    assert [words in text for text in said.texts("note")] == [True]
