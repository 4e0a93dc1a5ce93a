"""The shape of a model without its weights, and which of its layers a pass will touch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from olive_like.errors import PassError
from olive_like.passes.quantize._checkpoint import Checkpoint
from olive_like.passes.quantize._grid import Spec

Exclude = Callable[[str], bool]


@dataclass(frozen=True)
class Target:
    """A layer to be rounded."""

    module: str  # its name in the model
    tensor: str  # its name in the files, without `.weight`
    outputs: int
    inputs: int
    spec: Spec
    transposed: bool = False  # stored as [in, out]
    embedding: bool = False


@dataclass
class Skeleton:
    """A model on the meta device beside the files that hold its weights."""

    model: Any
    config: Any
    checkpoint: Checkpoint
    quantized: dict[str, Any] | None  # the folder's quantization_config
    unnamed: list[str] = field(default_factory=list)  # layers that the files know by other names

    @cached_property
    def head(self) -> str | None:
        return self._name_of(self.model.get_output_embeddings())

    @cached_property
    def embedding(self) -> str | None:
        try:
            return self._name_of(self.model.get_input_embeddings())
        except NotImplementedError:  # models of pixels or sound have none
            return None

    @property
    def tied(self) -> bool:
        """Whether head and embedding are one matrix."""
        text = self.config.get_text_config(decoder=True)
        return bool(getattr(text, "tie_word_embeddings", False)) and self.head is not None

    def _name_of(self, module: Any) -> str | None:
        return next((name for name, other in self.model.named_modules() if other is module), None) if module else None

    def stored(self, name: str, suffix: str = "weight") -> str | None:
        """The name that a module has in the files, if it is there."""
        prefix = f"{self.model.base_model_prefix}."
        for candidate in (name, name.removeprefix(prefix), prefix + name):
            if f"{candidate}.{suffix}" in self.checkpoint:
                return candidate
        return None

    def blocks(self) -> tuple[str, nn.ModuleList]:
        """The list of decoder (or encoder) blocks that the model runs one after the other."""
        lists = [
            (name, module)
            for name, module in self.model.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) and any(_linear(m) for m in module.modules())
        ]
        if not lists:
            raise PassError(f"{type(self.model).__name__} has no list of blocks to go through layer by layer")
        outer = [(n, m) for n, m in lists if not any(n.startswith(f"{other}.") for other, _ in lists)]
        if len(outer) > 1:
            names = ", ".join(name for name, _ in outer)
            raise PassError(
                f"{type(self.model).__name__} has several lists of blocks ({names})",
                "Calibrated quantisers take models with one stack of blocks; Rtn, KQuant and Hqq take any.",
            )
        return outer[0]


def load_skeleton(folder: Path) -> Skeleton:
    """The model's structure, parameters on the meta device, computed buffers real."""
    # Here and not above: seconds that who does without the model's class is spared.
    from accelerate import init_empty_weights
    from transformers import AutoConfig

    checkpoint = Checkpoint.of(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None:
        quantized = dict(quantized if isinstance(quantized, dict) else quantized.to_dict())
        del config.quantization_config
    with init_empty_weights(include_buffers=False):
        model = model_class(config)._from_config(config)
    return Skeleton(model.eval(), config, checkpoint, quantized)


def model_class(config: Any) -> Any:
    """The class that a folder's config names."""
    import transformers

    names = config.architectures or []
    found = next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)
    if found is not None:
        return found
    if names:
        raise PassError(
            f"transformers has no class {names[0]}", "Models that bring code of their own cannot be quantised."
        )
    return transformers.AutoModel._model_mapping[type(config)]


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _transposed(module)


def _transposed(module: nn.Module) -> bool:
    """GPT-2's layers, whose weights are stored as [in, out]; told by name, which needs no import."""
    return type(module).__name__ == "Conv1D"


def choose(
    skeleton: Skeleton,
    *,
    spec: Callable[[str, int], Spec],
    lm_head: bool,
    embeds: bool = False,
    vision: bool = False,
    exclude: Exclude = lambda name: False,
) -> list[Target]:
    """Linear layers inside of blocks, and the head and the embedding where asked for."""
    head, embedding = skeleton.head, skeleton.embedding
    found = []
    for name, module in skeleton.model.named_modules():
        is_embedding = name == embedding and isinstance(module, nn.Embedding)
        if not is_embedding and not _linear(module):
            continue
        if name == head:
            wanted = lm_head
        elif is_embedding:
            wanted = embeds
        else:
            wanted = _in_list(skeleton.model, name) and (vision or not re.search(r"(^|\.)(vision|visual)", name))
        if not wanted or exclude(name):
            continue
        tensor = skeleton.stored(name)
        if tensor is None and name == head and skeleton.tied and embedding is not None:
            tensor = skeleton.stored(embedding)
        if tensor is None:
            if skeleton.stored(name, "qweight") is None:
                skeleton.unnamed.append(name)
            continue
        transposed = _transposed(module)
        shape = tuple(module.weight.shape)
        outputs, inputs = shape[::-1] if transposed else shape
        found.append(Target(name, tensor, outputs, inputs, spec(name, inputs), transposed, is_embedding))
    return found


def _in_list(model: nn.Module, name: str) -> bool:
    parts = name.split(".")
    return any(isinstance(model.get_submodule(".".join(parts[:i])), nn.ModuleList) for i in range(1, len(parts)))


def note_fused(skeleton: Skeleton, note: Callable[[str], None]) -> None:
    """Say it where weights of a mixture stand in one tensor of all experts, which stays as it is."""
    fused = [name for name, parameter in skeleton.model.named_parameters() if parameter.dim() > 2 and "expert" in name]
    if fused:
        note(f"{len(fused)} fused tensors of experts ({fused[0]} and its like) stay as they are")


def matches(entry: str, name: str) -> bool:
    """Whether an entry of a list of modules means this one: its name, or whole parts of it."""
    return f".{entry}." in f".{name}."


def linear_names(skeleton: Skeleton) -> list[str]:
    """All layers that can be rounded."""
    return [name for name, module in skeleton.model.named_modules() if _linear(module)]


def check_names(what: str, entries: Iterable[str], skeleton: Skeleton) -> None:
    """Every entry must mean at least one layer; the nearest names are shown for one that does not."""
    names = [n for n, m in skeleton.model.named_modules() if _linear(m) or isinstance(m, nn.Embedding)]
    for entry in entries:
        if any(matches(entry, name) for name in names):
            continue
        parts = sorted({part for name in names for part in (name, name.rpartition(".")[2])})
        near = difflib.get_close_matches(entry, parts, n=3, cutoff=0.5) or parts[:3]
        raise PassError(f"{what} names {entry!r}, which no layer is called", f"Did you mean {', '.join(near)}?")


def pick_spec(
    bits: int, group_size: int, sym: bool, overrides: dict[str, dict[str, Any]]
) -> Callable[[str, int], Spec]:
    """Module name and inputs -> how it is rounded. The most exact override wins."""

    def spec(name: str, inputs: int) -> Spec:
        fitting = [entry for entry in overrides if matches(entry, name)]
        own = overrides[max(fitting, key=len)] if fitting else {}
        size = own.get("group_size") or group_size
        chosen_bits, chosen_sym = own.get("bits") or bits, own.get("sym")
        return Spec(chosen_bits, inputs if size == -1 else size, sym if chosen_sym is None else chosen_sym)

    return spec


def check_group_sizes(targets: list[Target], note: Callable[[str], None]) -> None:
    """Refuse groups longer than a row, and say what happens where they do not divide it."""
    ragged: dict[tuple[int, int], int] = {}
    for target in targets:
        if target.spec.group_size > target.inputs:
            raise PassError(
                f"group_size {target.spec.group_size} is more than the {target.inputs} inputs of {target.module}",
                "Choose a smaller group_size, or -1 for one scale per row.",
            )
        rest = target.inputs % target.spec.group_size
        if rest:
            key = (target.inputs, target.spec.group_size)
            ragged[key] = ragged.get(key, 0) + 1
    for (inputs, size), count in ragged.items():
        note(
            f"{count} layers have {inputs} inputs, which groups of {size} do not divide: "
            f"their last group has {inputs % size}"
        )


def finite(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The tensor, if all of it is a number."""
    # A sum is cheap, and finite only if all of it is; large numbers that overflow it are looked at one by one.
    if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
        raise PassError(
            f"the weights of {name} contain NaN or infinity", "The model was damaged in training; use an earlier one."
        )
    return tensor
