"""The same training on every system that works on processors: the same loss, an ordinary adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.systems.training import Training

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("ranks")]
pytest.importorskip("deepspeed")

SYSTEMS: dict[str, dict[str, Any]] = {
    "torchrun": {"type": "torchrun", "ranks": 2},
    "fsdp": {"type": "fsdp", "ranks": 2},
    "zero1": {"type": "deepspeed", "stage": 1, "ranks": 2},
    "zero2": {"type": "deepspeed", "stage": 2, "ranks": 2, "launcher": "torchrun"},
    "zero3": {"type": "deepspeed", "stage": 3, "ranks": 2, "offload": "cpu"},
}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def local(training: Training) -> float:
    found = training.run({"type": "local"}, "local", per_device_train_batch_size=4)
    assert found["status"] == "ran", found
    return float(found["metrics"]["eval_loss"])


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_loss_is_that_of_one_process(name: str, training: Training, local: float) -> None:
    """Two ranks with batches of 2 learn what one process learns with batches of 4."""
    # The stages have one key, as they compute the same: a difference of nothing keeps the cache out of it.
    epsilon = 1e-8 + list(SYSTEMS).index(name) * 1e-13
    found = training.run(SYSTEMS[name], name, per_device_train_batch_size=2, adam_epsilon=epsilon)
    assert found["status"] == "ran", found
    assert found["metrics"]["eval_loss"] == pytest.approx(local, abs=1e-3)
    output = training.root / "out" / name / "train"
    assert not list(output.glob("*.bin"))
    assert json.loads((output / "train.json").read_text())["ranks"] == 2
    assert loss_with_plain_peft(training, output) == pytest.approx(local, abs=1e-3)


PAIRS = [{"prompt": f"what is {i}?", "chosen": f" it is {i * 2}", "rejected": f" no idea {i}"} for i in range(24)]


def test_other_methods(training: Training) -> None:
    """In one run: preferences and 4 bits on ranks and on one process, and an adapter in bfloat16 at stage 3."""
    flow = json.loads(training.file({"type": "local"}, "others").read_text())
    train = flow["passes"]["train"]
    alone, shared = {"per_device_train_batch_size": 4}, {"per_device_train_batch_size": 2}
    preferences = {**train, "type": "DPO", "train_data_config": "pairs", "max_steps": 4, "eval_steps": 4}
    kinds = {"four_bits": {**train, "type": "QLoRA"}, "preferences": preferences}
    flow["data_configs"].append({"name": "pairs", "rows": PAIRS, "eval_fraction": 0.25})
    flow["systems"] |= {"zero2": SYSTEMS["zero2"], "zero3": {"type": "deepspeed", "stage": 3, "ranks": 2}}
    flow["systems"]["one"] = {"type": "deepspeed", "stage": 3, "ranks": 1}
    first = {"input": "input_model"}
    flow["passes"] = {
        **{f"{name}_alone": {**step, **alone, **first} for name, step in kinds.items()},
        "four_bits": {**kinds["four_bits"], **shared, **first, "system": "zero3"},
        "preferences": {**kinds["preferences"], **shared, **first, "system": "zero2"},
        "bf16": {**train, **alone, **first, "torch_dtype": "bfloat16", "system": "one"},
        "bf16_alone": {**train, **alone, **first, "torch_dtype": "bfloat16"},
    }
    file = training.root / "others.json"
    file.write_text(json.dumps(flow))
    out, err = training.start(file).communicate(timeout=280)
    told = json.loads(out)
    assert told["status"] == "ok", out + err[-3000:]
    losses = {found["name"]: found["metrics"].get("eval_loss") for found in told["passes"]}
    for name, tolerance in {"four_bits": 1e-3, "preferences": 1e-3, "bf16": 5e-3}.items():
        assert losses[name] == pytest.approx(losses[f"{name}_alone"], abs=tolerance)


def loss_with_plain_peft(training: Training, adapter: Path) -> float:
    """The adapter, loaded as anybody would, on the examples that were held out."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from olive_like.artifacts import Dataset
    from olive_like.data._tokenized import read

    (data,) = training.root.glob("cache/objects/*/*/eval.arrow")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(training.model), adapter)
    total, count = 0.0, 0
    for record in read(Dataset(data.parent, {"format": "tokenized"}), "eval"):
        labels = torch.tensor([record["labels"]])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([record["input_ids"]]), labels=labels).loss
        items = int((labels[:, 1:] != -100).sum())
        total, count = total + float(loss) * items, count + items
    return total / count
