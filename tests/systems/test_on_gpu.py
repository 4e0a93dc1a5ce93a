"""What only a GPU can show. `pytest -m gpu` runs these; elsewhere they are skipped."""

from __future__ import annotations

from typing import Any

import pytest

from olive_like.systems.machine import this_machine
from tests.systems.training import Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.heavy,
    pytest.mark.skipif(not this_machine().gpus, reason="needs an NVIDIA GPU; on a machine with one: pytest -m gpu"),
]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def on_cpu(training: Training) -> float:
    found = training.run({"type": "local"}, "cpu")
    assert found["status"] == "ran", found
    return float(found["metrics"]["eval_loss"])


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "lora": ({"type": "cuda"}, {}, 2e-3),
    "olive": ({"type": "LocalSystem", "accelerators": [{"device": "gpu"}]}, {"adam_epsilon": 1.0001e-8}, 2e-3),
    "bf16": ({"type": "cuda"}, {"torch_dtype": "bfloat16"}, 5e-2),
    "qlora": ({"type": "cuda"}, {"type": "QLoRA", "torch_dtype": "bfloat16"}, 2e-1),
    "torchrun": ({"type": "torchrun", "ranks": 1}, {"adam_epsilon": 1.0002e-8}, 2e-3),
    "zero3": ({"type": "deepspeed", "stage": 3, "ranks": 1, "offload": "cpu"}, {}, 5e-3),
    "zero3_bf16": ({"type": "deepspeed", "stage": 3, "ranks": 1, "offload": "cpu"}, {"torch_dtype": "bfloat16"}, 5e-2),
}


@pytest.mark.parametrize("name", CASES)
def test_training(name: str, training: Training, on_cpu: float) -> None:
    system, settings, tolerance = CASES[name]
    found = training.run(system, name, **settings)
    assert found["status"] == "ran", found
    assert found["metrics"]["eval_loss"] == pytest.approx(on_cpu, abs=tolerance)


def test_a_gpu_has_another_key_than_processors(training: Training) -> None:
    import olive_like

    keys = {olive_like.plan(str(training.file({"type": kind}, "key"))).nodes["train"].key for kind in ("local", "cuda")}
    assert len(keys) == 2


def test_four_bit_inference(training: Training) -> None:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    whole = AutoModelForCausalLM.from_pretrained(training.model, dtype=torch.bfloat16).cuda().eval()
    small = AutoModelForCausalLM.from_pretrained(training.model, quantization_config=settings, device_map={"": 0})
    ids = torch.arange(16, device="cuda")[None]
    with torch.no_grad():
        difference = (whole(ids).logits - small(ids).logits).abs().mean() / whole(ids).logits.abs().mean()
    assert difference < 0.5
