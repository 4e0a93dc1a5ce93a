"""Models of one step: encoders, classifiers, image and audio models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from olive_like.errors import PassError
from olive_like.passes.convert._parts import Flat, Part, generator, some_tokens

Inputs = dict[str, torch.Tensor]


class ByName(Flat):
    """A model called by the names of its inputs, which answers with its outputs in order."""

    def __init__(self, inner: torch.nn.Module, names: list[str]) -> None:
        super().__init__(inner)
        self.names = names

    def forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        outputs = self.inner(**dict(zip(self.names, tensors, strict=True)), return_dict=True)
        return tuple(value for value in outputs.values() if isinstance(value, torch.Tensor))


_BATCH, _TEXT = {0: "batch_size"}, {0: "batch_size", 1: "sequence_length"}
_AXES: dict[str, dict[int, str]] = {
    "input_ids": _TEXT,
    "attention_mask": _TEXT,
    "token_type_ids": _TEXT,
    "pixel_values": _BATCH,
    "input_features": _BATCH,
    "input_values": {0: "batch_size", 1: "audio_length"},
}


def single_part(model: Any, dtype: torch.dtype, sequence: int | None) -> Part:
    """The graph of a model that is one step; `sequence` fixes the length of text, at batch 1."""
    make = _maker(model, dtype)
    names = list(make(1, 2))
    module = ByName(model, names).eval()
    text = "input_ids" in names
    example = make(1, sequence) if sequence is not None else make(2, 7 if text else 2)
    outputs = _output_names(model, example)

    def samples() -> list[Inputs]:
        if sequence is not None:
            return [make(1, sequence)]
        made = [make(1, 9), make(3, 5)]
        if "attention_mask" in names:
            made[-1]["attention_mask"][0, -2:] = 0  # a padded row
        return made

    return Part(
        name="model",
        file="model.onnx",
        module=module,
        example=example,
        outputs=list(outputs),
        axes={} if sequence is not None else _axes(names, example, outputs, model, make),
        samples=samples,
        dynamo=not (text and set(names) <= {"input_ids", "attention_mask", "token_type_ids"}),
        attributes={"vocab_size": model.config.vocab_size} if hasattr(model.config, "vocab_size") else {},
    )


def _maker(model: Any, dtype: torch.dtype) -> Callable[[int, int], Inputs]:
    """A function from batch and length to inputs, by what the model's `forward` takes."""
    accepted = inspect.signature(model.forward).parameters
    config, device = model.config, model.device
    text = config.get_text_config()
    vision = getattr(config, "vision_config", config)

    def make(batch: int, length: int) -> Inputs:
        inputs: Inputs = {}
        if "input_ids" in accepted and hasattr(text, "vocab_size"):
            inputs["input_ids"] = some_tokens(batch, length, text.vocab_size)
            if getattr(text, "eos_token_id", None) is not None and "pixel_values" in accepted:
                inputs["input_ids"][:, -1] = min(text.eos_token_id, text.vocab_size - 1)
            inputs["attention_mask"] = torch.ones(batch, length, dtype=torch.long)
            if "token_type_ids" in accepted and getattr(text, "type_vocab_size", 0) > 1:
                inputs["token_type_ids"] = torch.zeros(batch, length, dtype=torch.long)
        if "pixel_values" in accepted:
            size = getattr(vision, "image_size", None) or 224
            height, width = (size, size) if isinstance(size, int) else size
            shape = (batch, getattr(vision, "num_channels", 3), height, width)
            inputs["pixel_values"] = torch.randn(shape, generator=generator(batch)).to(dtype)
        elif "input_values" in accepted:
            inputs["input_values"] = torch.randn(batch, 4000 + 400 * length, generator=generator(batch)).to(dtype)
        elif "input_features" in accepted:
            inputs["input_features"] = _features(config, batch, dtype)
        if not inputs:
            raise PassError(
                f"the inputs of {type(model).__name__} are not known",
                "Bring it as PyTorchModel with a script that has `io_config` and `dummy_inputs_func`.",
            )
        return {name: tensor.to(device) for name, tensor in inputs.items() if name in accepted}

    return make


def _features(config: Any, batch: int, dtype: torch.dtype) -> torch.Tensor:
    bins = getattr(config, "num_mel_bins", 80)
    positions = getattr(config, "max_source_positions", None)
    frames = 2 * positions if positions else getattr(config, "max_length", 1024)
    return torch.randn(batch, bins, frames, generator=generator(batch)).to(dtype)


@torch.no_grad()
def _output_names(model: Any, example: Inputs) -> dict[str, tuple[int, ...]]:
    outputs = model(**example, return_dict=True)
    return {name: tuple(value.shape) for name, value in outputs.items() if isinstance(value, torch.Tensor)}


def _axes(
    names: list[str],
    example: Inputs,
    outputs: dict[str, tuple[int, ...]],
    model: Any,
    make: Callable[[int, int], Inputs],
) -> dict[str, dict[int, str]]:
    """Open axes: known ones of inputs, and those of outputs that move when the inputs' move."""
    axes = {name: dict(_AXES.get(name, _BATCH)) for name in names}
    longer, wider = _output_names(model, make(2, 11)), _output_names(model, make(3, 7))
    for name, shape in outputs.items():
        found = {}
        for axis, size in enumerate(shape):
            if wider[name][axis] != size and longer[name][axis] == size:
                found[axis] = "batch_size"
            elif longer[name][axis] != size:
                found[axis] = "sequence_length" if "input_ids" in example else f"{name}_length"
        axes[name] = found
    return axes
