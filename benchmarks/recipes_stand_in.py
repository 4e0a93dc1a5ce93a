"""A script in the place of one that a workflow names and that did not come with it.

`benchmarks/recipes_run.py` writes this file's text under the name that the workflow has for its script, with what is
known of the model in `IO`, and the functions under the names that the workflow has for them. The model is small and of
no particular kind: an embedding of every whole-number input, an attention block over every other, and one matrix per
output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

IO: dict[str, Any] = {}

_WIDTH = 128
_WHOLE = ("ids", "length", "len", "targets", "labels", "mask", "grid", "timestep", "id")


class StandIn(nn.Module):
    """Takes the inputs that `IO` names, gives the outputs that it names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(512, _WIDTH)
        self.project = nn.Linear(1, _WIDTH)
        self.norm = nn.LayerNorm(_WIDTH)
        self.query, self.key, self.value, self.join = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, _WIDTH)
        self.heads = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in IO["output_names"])

    def forward(self, *given: Any, **named: Any) -> tuple[torch.Tensor, ...]:
        tensors = [t for t in (*given, *named.values()) if isinstance(t, torch.Tensor)]
        state = sum(self._read(tensor) for tensor in tensors)
        normed = self.norm(state)
        weights = torch.softmax(self.query(normed) @ self.key(normed).transpose(-1, -2) / _WIDTH**0.5, -1)
        state = state + self.join(weights @ self.value(normed))
        state = state + self.narrow(nn.functional.gelu(self.wide(self.norm(state))))
        return tuple(head(state) for head in self.heads)

    def _read(self, tensor: torch.Tensor) -> torch.Tensor:
        """Whatever the shape: [batch, 4, width]."""
        if tensor.is_floating_point():
            flat = tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]
            read = self.project(flat.mean(1, keepdim=True))
        else:
            flat = tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]
            read = self.embed(flat.clamp(0, 511).long()).mean(1)
        return read.mean(0, keepdim=True)[:, None].expand(1, 4, _WIDTH)


def _whole(name: str) -> bool:
    return any(part in _WHOLE for part in name.lower().split("_"))


def _shape(name: str) -> list[int]:
    """The shape that the workflow says, else one by the axes that it leaves open."""
    names, shapes = IO["input_names"], IO.get("input_shapes") or []
    if name in names and len(shapes) > names.index(name):
        return list(shapes[names.index(name)])
    axes = (IO.get("dynamic_axes") or {}).get(name) or {"1": ""}
    rank = max(2 if _whole(name) else 3, 1 + max(map(int, axes)))
    sizes = {int(axis): IO.get("sizes", {}).get(called, 8) for axis, called in axes.items() if int(axis)}
    return [1, *(sizes.get(axis, 8) for axis in range(1, rank))]


def _arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    types = dict(zip(IO["input_names"], IO.get("input_types") or [], strict=False))
    made: dict[str, np.ndarray] = {}
    for name in IO["input_names"]:
        if name == "return_dict":
            continue
        if "int" in types.get(name, "int64" if _whole(name) else "float32"):
            made[name] = random.integers(1, 3, _shape(name)).astype(types.get(name, "int64"))
        else:
            made[name] = random.standard_normal(_shape(name)).astype(types.get(name, "float32"))
    return made


def load_model(*_: Any) -> nn.Module:
    return StandIn().eval()


def describe(*_: Any) -> dict[str, Any]:
    arrays = _arrays()
    shapes = {"input_shapes": [list(array.shape) for array in arrays.values()]}
    return {**shapes, "input_types": [str(array.dtype) for array in arrays.values()], **IO}


def dummy_inputs(*_: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in _arrays().items()}


def load(*_: Any, **__: Any) -> list[dict[str, Any]]:
    return [{**_arrays(index), "label": np.array([index % 2])} for index in range(4)]


def process(rows: Any, *_: Any, **__: Any) -> list[tuple[dict[str, np.ndarray], Any]]:
    if IO.get("batched"):
        return [(_arrays(index), np.array([index % 2])) for index, _row in enumerate(rows)]
    return [({n: a[0] for n, a in _arrays(index).items()}, index % 2) for index, _row in enumerate(rows)]


def post_process(output: Any, *_: Any, **__: Any) -> torch.Tensor:
    """The likeliest class by the first output."""
    while not isinstance(output, (torch.Tensor, np.ndarray)):
        output = next(iter(output.values() if hasattr(output, "values") else output))
    return torch.as_tensor(output).argmax(-1)


def dataloader(*_: Any, **__: Any) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    return [(_arrays(index), np.array([index % 2])) for index in range(4)]


def measure(*_: Any, **__: Any) -> dict[str, float]:
    return dict.fromkeys(IO.get("values") or ["value"], 0.5)
