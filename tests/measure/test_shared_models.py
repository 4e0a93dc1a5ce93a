"""A model that an earlier pass left in memory gives the same values as one that is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import Adapter, HfModel
from olive_like.data.config import DataConfig
from olive_like.engine.memory import Memory
from olive_like.metrics.config import Evaluator
from olive_like.passes.base import Context
from olive_like.passes.finetune.merge import MergeAdapterWeights
from olive_like.passes.measure.evaluate import Evaluate
from tests.tiny_models import tiny_llama

pytestmark = pytest.mark.heavy


def values(model: HfModel, folder: Path, memory: Memory) -> dict[str, Any]:
    folder.mkdir()
    data = DataConfig(rows=[{"text": "a great film, a clever film"}, {"text": "seven small ships"}])
    evaluator = Evaluator.model_validate({"metrics": ["loss", "token_accuracy"], "data_config": data})
    context = Context(folder, folder.parent / "scratch", memory=memory.get)
    Evaluate().apply([model], Evaluate.Config(evaluator=evaluator), context)
    return json.loads((folder / "metrics.json").read_text())


def test_a_merged_model_is_measured_from_memory_and_gives_the_same(tmp_path: Path) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = tiny_llama(tmp_path / "base")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), config).save_pretrained(tmp_path / "adapter")
    adapter = Adapter(tmp_path / "adapter", {"task": "text-generation"}, {"base": base}, "adapter's digest")

    kept, empty = Memory(), Memory()
    kept.budget = empty.budget = 1 << 30
    output = tmp_path / "merged"
    output.mkdir()
    context = Context(output, tmp_path / "scratch", memory=kept.get)
    merged = MergeAdapterWeights().apply([adapter], MergeAdapterWeights.Config(), context)
    assert kept.keeps(str(output))
    kept.publish(str(output), "the digest")

    stored = HfModel(merged.path, merged.attributes, digest="the digest")
    loads: list[str] = []
    real = kept.get
    kept.get = lambda name, load: real(name, lambda: loads.append(name) or load())  # type: ignore[method-assign]
    from_memory = values(stored, tmp_path / "one", kept)
    assert loads == []
    assert values(stored, tmp_path / "two", empty) == from_memory
