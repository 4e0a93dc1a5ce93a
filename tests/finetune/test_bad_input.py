"""What people get wrong: each a clear error or a stated choice, and nothing is lost."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from olive_like.artifacts import Adapter, Dataset, HfModel
from olive_like.errors import PassError
from olive_like.passes.finetune import adapters
from olive_like.passes.finetune.full import FullFinetune
from olive_like.passes.finetune.merge import MergeAdapterWeights
from olive_like.passes.finetune.settings import never_reached, setting_problems
from olive_like.passes.weights import read_folder
from tests.finetune.helpers import FILMS, SUMS, prepare, run
from tests.tiny_models import tiny_bert, tiny_gpt2, tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def sums(llama: HfModel, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(llama, tmp_path_factory.mktemp("data") / "sums", rows=SUMS, eval_fraction=0.2)


def test_a_typo_in_target_modules(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no layer 'q_porj'; did you mean q_proj") as caught:
        run(adapters.LoRA, llama, tmp_path / "a", sums, target_modules=["q_porj"], max_steps=1)
    assert "down_proj, embed_tokens, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj" in caught.value.hint
    with pytest.raises(PassError, match="modules_to_save: the model has no layer 'head'"):
        run(adapters.LoRA, llama, tmp_path / "b", sums, modules_to_save=["head"], max_steps=1)


def test_qlora_of_a_base_that_is_quantised(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    shutil.copytree(llama.path, base := tmp_path / "base")
    config = json.loads((base / "config.json").read_text("utf-8"))
    stored = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": stored}), "utf-8")
    with pytest.raises(PassError, match=r"qlora quantises the base, and .* is quantised already \(gptq\)") as caught:
        run(adapters.QLoRA, HfModel(base), tmp_path / "a", sums, max_steps=1)
    assert "take LoRA" in caught.value.hint


def test_parts_of_a_model_and_patterns_name_layers(llama: HfModel) -> None:
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune._build import adapter_config

    base = load_model(llama)

    def chosen(names: Any, **settings: Any) -> tuple[set[str], set[str]]:
        config = adapters.LoRA.Config.model_validate({"target_modules": names, **settings})
        made = adapter_config(base, "lora", config, "text-generation")
        return set(made.target_modules or ()), set(made.exclude_modules or ())

    both = {f"model.layers.{i}.self_attn.q_proj" for i in (0, 1)}
    assert chosen(["q_proj", "v_proj"])[0] == {"q_proj", "v_proj"}
    assert chosen([r".*\.q_proj"])[0] == chosen([r"model.layers.[01].self_attn.q_proj"])[0] == both
    mlp = {f"model.layers.1.mlp.{name}_proj" for name in ("gate", "up", "down")}
    assert chosen(["layers.1.mlp", "o_proj"])[0] == mlp | {"o_proj"}
    assert chosen("all-linear", exclude_modules=["layers.1.mlp", "k_proj"])[1] == mlp | {"k_proj"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"exclude_modules": ["mpl"]}, "exclude_modules: the model has no layer 'mpl'"),
        ({"rank_pattern": {"q_prj": 8}}, "rank_pattern: no layer is meant by 'q_prj'"),
        ({"alpha_pattern": {"(q_proj": 8}}, "is no pattern"),
        ({"target_modules": "(q_proj"}, "is no pattern"),
    ]
    for settings, words in wrong:
        with pytest.raises(PassError, match=words):
            chosen(settings.pop("target_modules", ["q_proj"]), **settings)
    adapter_config(base, "lora", adapters.LoRA.Config(r=4, rank_pattern={r"layers\.0\..*q_proj": 8}), "text-generation")


def test_ia3_scales_inputs_of_what_it_scales(llama: HfModel) -> None:
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune._build import adapter_config

    base = load_model(llama)

    def made(**settings: Any) -> Any:
        return adapter_config(base, "ia3", adapters.IA3.Config.model_validate(settings), "text-generation")

    usual = made()
    assert (usual.target_modules, usual.feedforward_modules) == ({"k_proj", "v_proj", "down_proj"}, {"down_proj"})
    assert made(target_modules="q_proj").feedforward_modules == set()
    assert made(target_modules="q_proj,layers.0.mlp").feedforward_modules == {"model.layers.0.mlp.down_proj"}
    with pytest.raises(PassError, match="'up_proj' is not among the `target_modules`"):
        made(target_modules="q_proj", feedforward_modules="up_proj")


@pytest.mark.parametrize(
    ("settings", "words", "hint"),
    [
        ({"optim": "adam_w_torch"}, "no optimizer 'adam_w_torch'; did you mean adamw_torch", "adafactor"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "'num_decay_steps'", "lr_scheduler_kwargs"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr", "lr_scheduler_kwargs"),
        ({"lr_scheduler_kwargs": {"foo": 1}}, "unexpected keyword argument 'foo'", "lr_scheduler_kwargs"),
    ],
)
def test_optimizers_and_schedules(
    settings: dict[str, Any], words: str, hint: str, llama: HfModel, sums: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(PassError, match=words) as caught:
        run(adapters.LoRA, llama, tmp_path / "a", sums, r=4, max_steps=1, **settings)
    assert hint in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="it is there")
def test_an_attention_that_is_not_installed(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PassError, match="FlashAttention"):
        run(adapters.LoRA, llama, tmp_path / "a", sums, r=4, max_steps=1, attn_implementation="flash_attention_2")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_modules": ["down_proj", "dwn_proj"]}, "no layer 'dwn_proj'; did you mean down_proj"),
        ({"modules_to_save": ["lm_haed"]}, "modules_to_save: the model has no layer 'lm_haed'"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens is no linear layer"),
    ],
)
def test_layers_of_a_bottleneck(
    settings: dict[str, Any], words: str, llama: HfModel, sums: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(PassError, match=words):
        run(adapters.Adapter, llama, tmp_path / "a", sums, size=4, max_steps=1, **settings)


def test_the_guides_modules_of_gpt2(tmp_path: Path) -> None:
    model = tiny_gpt2(tmp_path / "gpt2")
    data = prepare(model, tmp_path / "data", rows=SUMS[:8])
    settings = {"target_modules": ["c_attn", "c_proj"], "modules_to_save": ["ln_f", "lm_head"], "lora_alpha": 32}
    made, _ = run(adapters.LoRA, model, tmp_path / "a", data, r=4, max_steps=2, **settings)
    merged, _ = run(MergeAdapterWeights, made, tmp_path / "b")
    assert isinstance(merged, HfModel)


def test_an_adapter_of_another_base(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    made, _ = run(adapters.LoRA, llama, tmp_path / "a", sums, r=4, max_steps=1)
    for other, words in (
        (tiny_llama(tmp_path / "wide", hidden_size=128), "is 128 wide here, 64 there"),
        (tiny_llama(tmp_path / "short", num_hidden_layers=1), "no layer model.layers.1.self_attn.q_proj"),
        (tiny_gpt2(tmp_path / "gpt2"), "no layer model.layers.0.self_attn.q_proj"),
    ):
        with pytest.raises(PassError, match=f"for another base model: .*{words}"):
            run(MergeAdapterWeights, Adapter(made.path, refs={"base": other}), tmp_path / f"to {other.path.name}")


def test_a_tokenizer_without_padding_token(llama: HfModel, tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    tiny_tokenizer(model.path, pad=False)
    data = prepare(model, tmp_path / "data", rows=SUMS[:8])
    _, said = run(adapters.LoRA, model, tmp_path / "a", data, r=4, max_steps=2)
    assert any("no padding token; <|im_end|> is used" in text for text in said.texts("note"))


def test_float16_on_a_cpu_is_another_choice_said_aloud(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    for number, settings in enumerate(({"torch_dtype": "float16"}, {"fp16": True})):
        _, said = run(adapters.LoRA, llama, tmp_path / str(number), sums, r=4, max_steps=1, **settings)
        assert any("float16 cannot be trained on a CPU" in text for text in said.texts("warning"))


def test_a_model_with_fewer_positions_than_the_data(tmp_path: Path, llama: HfModel) -> None:
    data = prepare(llama, tmp_path / "data", rows=[{"text": "one two three four " * 40}])
    short = tiny_gpt2(tmp_path / "gpt2", n_positions=32)
    with pytest.raises(PassError, match="tokens do not fit the model's 32 positions") as caught:
        run(adapters.LoRA, short, tmp_path / "a", data, r=4, max_steps=1)
    assert "max_seq_len: 32" in caught.value.hint


def test_an_unknown_label_in_the_evaluation_data(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert", labels=None)
    train = prepare(bert, tmp_path / "train", rows=FILMS)
    odd = prepare(bert, tmp_path / "odd", rows=[{"text": "a", "label": "odd"}, {"text": "b", "label": "pos"}])
    with pytest.raises(PassError, match="label 'odd', which the training data have not"):
        run(adapters.LoRA, bert, tmp_path / "a", train, odd, r=4, max_steps=1)


def test_one_class_and_a_number(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert")
    alike = prepare(bert, tmp_path / "alike", rows=[{"text": f"film {i}", "label": "good"} for i in range(8)])
    with pytest.raises(PassError, match="all rows have the label 'good'"):
        run(adapters.LoRA, bert, tmp_path / "a", alike, r=4, max_steps=1)
    scores = prepare(bert, tmp_path / "scores", rows=[{"text": f"film {i}", "label": i / 3} for i in range(8)])
    with pytest.raises(PassError, match="the data have numbers to be learnt"):
        run(adapters.LoRA, bert, tmp_path / "c", scores, r=4, max_steps=1, label_smoothing_factor=0.1)
    made, said = run(adapters.LoRA, bert, tmp_path / "b", scores, r=4, max_steps=1)
    assert "a new head for one number" in said.texts("note")
    assert read_folder(made.path)["base_model.model.classifier.weight"].shape[0] == 1


def test_evaluation_classes_are_numbered_as_the_training_classes(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert", labels=None)
    train = prepare(bert, tmp_path / "train", rows=FILMS)
    held = prepare(bert, tmp_path / "held", rows=[row for row in FILMS if row["label"] != "meh"])
    settings = {"r": 4, "num_train_epochs": 12, "learning_rate": 2e-2, "eval_steps": 90}
    _, said = run(adapters.LoRA, bert, tmp_path / "a", train, held, **settings)
    assert said.metrics()["eval_accuracy"] >= 0.9


def test_a_loss_that_becomes_nan_stops_with_the_step(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    settings = {"max_steps": 30, "learning_rate": 1e30, "max_grad_norm": 0, "lr_scheduler_type": "constant"}
    with pytest.raises(PassError, match=r"the loss became nan at step \d+") as caught:
        run(FullFinetune, llama, tmp_path / "a", sums, **settings)
    assert "learning rate of 1e+30 is too high" in caught.value.hint
    assert "max_grad_norm: 1" in caught.value.hint


def test_a_diverging_loss_stops(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    settings = {"max_steps": 100, "learning_rate": 1.0, "lr_scheduler_type": "constant", "logging_steps": 1}
    with pytest.raises(PassError, match=r"the loss diverges: [\d.e+]+ at step \d+, after"):
        run(FullFinetune, llama, tmp_path / "a", sums, **settings)


def test_a_tracker_that_is_not_there() -> None:
    config = adapters.LoRA.Config(train_data_config="d", report_to=["tensorboard", "paper"])
    assert adapters.LoRA.problems(config, []) == [
        "`report_to: paper` is not known; known: tensorboard, wandb, mlflow, none"
    ]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_tracker_gets_one_run_per_training(
    name: str, llama: HfModel, sums: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for label in ("a", "b"):
        settings = {"r": 4, "max_steps": 2, "logging_steps": 1, "report_to": name, "run_name": label}
        run(adapters.LoRA, llama, tmp_path / label, sums, **settings)
    if name == "mlflow":
        import mlflow

        runs = mlflow.search_runs(search_all_experiments=True)
        assert sorted(runs["tags.mlflow.runName"]) == ["a", "b"]
        assert set(runs["status"]) == {"FINISHED"}
        assert runs["metrics.loss"].notna().all()
        return
    pattern = "tensorboard/*/events.out*" if name == "tensorboard" else "wandb/offline-run-*/*.wandb"
    assert len(list(tmp_path.glob(pattern))) == 2


LOSSES = """import torch

class Weighted(torch.nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, logits, labels):
        return self.factor * torch.nn.functional.cross_entropy(logits, labels)

def broken(logits, labels):
    return logits @ labels

def detached(logits, labels):
    return logits.detach().sum()

def undefined(logits, labels):
    return (logits.sum() * 0) / 0

def many(logits, labels):
    return logits

class Contrast(torch.nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        distance = torch.nn.functional.pairwise_distance(output1, output2)
        near = (1 - label) * distance.pow(2)
        return (near + label * torch.clamp(self.margin - distance, min=0).pow(2)).mean()
"""


def test_a_users_loss(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(LOSSES)
    settings = {"r": 4, "max_steps": 3, "logging_steps": 1}
    _, plain = run(adapters.LoRA, llama, tmp_path / "a", sums, **settings)
    loss = {"script": script, "name": "Weighted", "params": {"factor": 2.0}}
    _, mine = run(adapters.LoRA, llama, tmp_path / "b", sums, loss=loss, **settings)
    assert mine.losses()[0] == pytest.approx(2 * plain.losses()[0], rel=1e-5)
    for name, words in (
        ("broken", r"failed at mine\.py:12: `return logits @ labels`"),
        ("detached", "does not depend on the model's output"),
        ("many", r"must return one number, not a tensor of shape"),
        ("absent", "has no function 'absent'; it has: .*Weighted"),
    ):
        with pytest.raises(PassError, match=words):
            run(adapters.LoRA, llama, tmp_path / name, sums, loss=f"{script}:{name}", **settings)
    with pytest.raises(PassError, match="the loss became nan at step 1") as caught:
        run(adapters.LoRA, llama, tmp_path / "nan", sums, loss=f"{script}:undefined", **settings)
    assert caught.value.hint.startswith("Likely: your loss undefined gives it")


def test_a_users_loss_on_pairs_of_texts(llama: HfModel, sums: Dataset, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(LOSSES)
    bert = tiny_bert(tmp_path / "bert", labels=None)
    rows = [
        {"sentence1": f"a great film {i}", "sentence2": f"a {w} film {i}", "label": n}
        for i in range(10)
        for n, w in enumerate(("clever", "dull"))
    ]
    data = prepare(bert, tmp_path / "data", rows=rows)
    settings = {"loss": f"{script}:Contrast", "r": 8, "max_steps": 25, "learning_rate": 1e-2, "logging_steps": 5}
    made, said = run(adapters.LoRA, bert, tmp_path / "a", data, **settings)
    assert made.task == "feature-extraction"
    assert said.losses()[-1] < 0.8 * said.losses()[0]
    with pytest.raises(PassError, match="Contrast compares two texts, the rows have one"):
        run(adapters.LoRA, llama, tmp_path / "b", sums, loss=f"{script}:Contrast", max_steps=1)


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from olive_like.errors import PassError
from olive_like.passes.finetune import adapters
from olive_like.passes.weights import read_folder
from tests.finetune.helpers import prepare, run
from tests.tiny_models import tiny_llama
folder = Path(sys.argv[1])
model = tiny_llama(folder / "model", num_hidden_layers=6)
data = prepare(model, folder / "data", rows=[{"text": f"{i} one two three " * 30} for i in range(64)])
run(adapters.LoRA, model, folder / "warm", data, r=4, max_steps=1, batch_size=1)  # what is loaded once
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 120 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    run(adapters.LoRA, model, folder / "a", data, r=4, max_steps=1, batch_size=64)
except PassError as error:
    print("ERROR", error.message, "|", error.hint)
_, said = run(adapters.LoRA, model, folder / "b", data, r=4, max_steps=1, batch_size=64, auto_batch=True)
print("SAID", said.texts("warning"), said.metrics())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_out_of_memory_is_said_and_survived(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=200
    )
    assert "ERROR out of memory at batches of 64" in done.stdout, done.stderr[-2000:]
    assert "gradient_checkpointing: true" in done.stdout
    assert "goes on with batches of 32 and 2 of them to a step" in done.stdout
    assert "train_loss" in done.stdout


def test_settings_flat_and_nested_are_the_same() -> None:
    flat = adapters.LoRA.Config.model_validate(
        {"lora_alpha": 32, "max_steps": 5, "batch_size": 4, "logging_steps": 50.0}
    )
    nested = adapters.LoRA.Config.model_validate(
        {"alpha": 32, "training_args": {"max_steps": 5, "per_device_train_batch_size": 4, "logging_steps": 50}}
    )
    assert flat == nested
    with pytest.raises(ValidationError, match="max_steps is 5 here and 6 in training_args"):
        adapters.LoRA.Config.model_validate({"max_steps": 5, "training_args": {"max_steps": 6}})
    with pytest.raises(ValidationError, match="learning_rat"):
        adapters.LoRA.Config.model_validate({"training_args": {"learning_rat": 1}})


def test_problems_before_anything_runs() -> None:
    def problems(**settings: Any) -> list[str]:
        return setting_problems(adapters.LoRA.Config.model_validate(settings))

    assert problems(train_data_config="data") == []
    assert "there is nothing to train on" in problems()[0]
    assert "`bf16` and `fp16` are both set" in problems(train_data_config="d", bf16=True, fp16=True)[0]
    stop = {"early_stopping": {"patience": 2}}
    assert problems(train_data_config={"rows": [{"text": "a"}], "eval_fraction": 0.1}, **stop) == []
    assert "needs evaluation data" in problems(train_data_config={"rows": [{"text": "a"}]}, **stop)[0]
    assert "no effect on adamw_torch" in problems(train_data_config="d", optim_args="beta1=0.8")[0]
    assert "adam" not in problems(train_data_config="d", optim="lomo", optim_args="beta1=0.8")[0]
    assert problems(train_data_config="d", optim="sgd", optim_args="momentum=0.8") == []
    assert "beside `loss`" in problems(train_data_config="d", loss="a.py:b", label_smoothing_factor=0.1)[0]


def test_what_no_step_comes_to() -> None:
    config = adapters.LoRA.Config
    late = config(train_data_config="d", warmup_steps=100, eval_steps=500, early_stopping={"patience": 2})
    assert [text.partition(":")[0] for text in never_reached(late, 60, True)] == [
        "the warm-up of 100 steps does not end within the 60 steps of the training",
        "no evaluation",
    ]
    assert "it cannot stop early" in never_reached(late, 60, True)[1]
    assert never_reached(late, 1000, True) == []
    usual = config(train_data_config="d", warmup_ratio=0.1, eval_steps=0.5, num_train_epochs=1)
    assert never_reached(usual, 1, True) == never_reached(late.model_copy(update={"warmup_steps": 0}), 60, False) == []
    assert "trains nothing" in setting_problems(config(train_data_config="d", max_steps=0))[0]


def test_the_loss_file_is_in_the_key(tmp_path: Path) -> None:
    from olive_like.marks import marked_files

    config = adapters.LoRA.Config.model_validate({"loss": "mine.py:Loss"}, context={"base_dir": tmp_path})
    found = list(marked_files(config))
    assert [(file.field, file.path, file.code) for file in found] == [("loss.script", tmp_path / "mine.py", True)]
    with pytest.raises(ValidationError, match=r"write `my_loss\.py:MyLoss`"):
        adapters.LoRA.Config.model_validate({"loss": "mine.py"})


def test_deepspeeds_settings_in_a_file_that_is_none_of_them(tmp_path: Path) -> None:
    from olive_like.passes.base import Context
    from olive_like.passes.finetune._arguments import deepspeed_settings

    context = Context(tmp_path, tmp_path)
    for text, said in (("{stage: 3}", "ds.json is not JSON"), ("[]", "ds.json is not a mapping")):
        (tmp_path / "ds.json").write_text(text)
        config = adapters.LoRA.Config(deepspeed=tmp_path / "ds.json")
        with pytest.raises(PassError, match=said):
            deepspeed_settings(config, context)
