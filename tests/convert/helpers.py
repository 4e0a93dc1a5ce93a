"""Running the passes of this room without the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from olive_like.artifacts import Adapter, OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.convert.onnx_conversion import OnnxConversion


class Events(list):  # type: ignore[type-arg]
    def metric(self, name: str) -> float:
        return next(event["value"] for kind, event in self if kind == "metric" and event["name"] == name)

    def texts(self, kind: str) -> list[str]:
        return [event["text"] for k, event in self if k == kind]


def convert(model: Any, output: Path, events: Events | None = None, **settings: Any) -> OnnxModel:
    output.mkdir(parents=True)
    events = events if events is not None else Events()
    context = Context(output=output, scratch=output.parent, emit=lambda kind, data: events.append((kind, dict(data))))
    result = OnnxConversion().apply([model], OnnxConversion.Config(**settings), context)
    assert isinstance(result, OnnxModel)
    return result


def tiny_adapter(base: Any, path: Path) -> Adapter:
    """A LoRA adapter with random weights on both sides, so that it changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), config).save_pretrained(path)
    return Adapter(path, refs={"base": base})
