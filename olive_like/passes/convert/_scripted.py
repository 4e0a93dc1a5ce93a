"""Models that a user's script builds, or whose inputs and outputs the user describes."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from olive_like.artifacts import HfModel, PyTorchModel
from olive_like.errors import PassError
from olive_like.passes._user_script import function_of, load_script
from olive_like.passes.convert._parts import Flat, Part, generator

_TYPES = {
    "float32": torch.float32, "float": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "float64": torch.float64, "double": torch.float64, "int64": torch.int64, "int32": torch.int32,
    "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip


class AsCalled(Flat):
    """The user's model, called with the arguments that its example was made of."""

    def __init__(
        self, inner: torch.nn.Module, leaves: list[Any], spec: Any, order: list[int], by_name: bool, wanted: list[str]
    ) -> None:
        super().__init__(inner)
        self.leaves, self.spec, self.order, self.by_name, self.wanted = leaves, spec, order, by_name, wanted

    def forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        leaves = list(self.leaves)
        for position, tensor in zip(self.order, tensors, strict=True):
            leaves[position] = tensor
        arguments = pytree.tree_unflatten(leaves, self.spec)
        outputs = _plain(self.inner(**arguments) if self.by_name else self.inner(*arguments))
        named = isinstance(outputs, dict)
        if named and all(isinstance(outputs.get(name), torch.Tensor) for name in self.wanted):
            outputs = [outputs[name] for name in self.wanted] or outputs
        leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
        # What transformers' models give has names, and is more than most want: under other names the first are meant.
        return tuple(leaves[: len(self.wanted) or None] if named else leaves)


def _plain(outputs: Any) -> Any:
    return dict(outputs) if hasattr(outputs, "keys") else outputs


def load_scripted(source: PyTorchModel | HfModel) -> tuple[torch.nn.Module, ModuleType | None]:
    """The model of the script's loader."""
    script = load_script(source.attributes)
    loader = source.attributes.get("model_loader")
    if not loader:
        raise PassError(
            "a PyTorchModel needs a function that builds it", "Set `model_script` and `model_loader: <function>`."
        )
    function = function_of(script, str(loader), "model_loader")
    place = source.attributes.get("model_path") or str(source.path)
    model = function(place) if inspect.signature(function).parameters else function()
    if not isinstance(model, torch.nn.Module):
        raise PassError(f"{loader} returned {type(model).__name__}, not a torch.nn.Module", "Check `model_loader`.")
    return model.eval(), script


def is_described(source: Any) -> bool:
    """Whether the user says what goes in and comes out."""
    return bool(source.attributes.get("io_config") or source.attributes.get("dummy_inputs_func"))


def scripted_part(model: torch.nn.Module, script: ModuleType | None, source: Any, dtype: torch.dtype | None) -> Part:
    """The graph by the user's own description."""
    io = source.attributes.get("io_config") or {}
    if isinstance(io, str):
        function = function_of(script, io, "io_config")
        io = function(model) if inspect.signature(function).parameters else function()
    made = _dummy_inputs(model, script, source, io)
    made = pytree.tree_map(lambda leaf: _cast(leaf, dtype), made)
    by_name = hasattr(made, "keys")
    arguments = dict(made) if by_name else tuple(made) if isinstance(made, (list, tuple)) else (made,)
    leaves, spec = pytree.tree_flatten(arguments)
    order = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    names, order = _names(arguments, leaves, order, list(io.get("input_names") or []))
    module = AsCalled(model, leaves, spec, order, by_name, list(io.get("output_names") or [])).eval()
    example = {name: leaves[position] for name, position in zip(names, order, strict=True)}
    axes = _axes(io, names)
    example = _grown(module, example, axes)
    with torch.no_grad():
        results = module(list(example.values()))
    outputs = list(io.get("output_names") or [f"output_{i}" for i in range(len(results))])
    if len(outputs) != len(results):
        raise PassError(
            f"the model gives {len(results)} tensors and io_config names {len(outputs)}: {', '.join(outputs[:6])}",
            "Name each output in `output_names`.",
        )
    wider = _repeated(example, axes, "batch", 3)
    return Part(
        name="model",
        file="model.onnx",
        module=module,
        example=example,
        outputs=outputs,
        axes=axes,
        samples=lambda: [example] + ([wider] if _runs(module, wider) else []),
        dynamo=False,
    )


def _dummy_inputs(model: torch.nn.Module, script: ModuleType | None, source: Any, io: dict[str, Any]) -> Any:
    name = source.attributes.get("dummy_inputs_func")
    if name:
        function = function_of(script, str(name), "dummy_inputs_func")
        return function(model) if inspect.signature(function).parameters else function()
    names, shapes = io.get("input_names"), io.get("input_shapes")
    if not names or not shapes:
        raise PassError(
            "how the model is called is not known",
            "Give `dummy_inputs_func`, or `io_config` with input_names, input_shapes and input_types.",
        )
    types = [str(kind).removeprefix("torch.") for kind in io.get("input_types") or ["float32"] * len(names)]
    if not len(names) == len(shapes) == len(types):
        counts = f"{len(names)} input_names, {len(shapes)} input_shapes and {len(types)} input_types"
        raise PassError(f"io_config has {counts}", "They go together, in the same order.")
    if unknown := [kind for kind in types if kind not in _TYPES]:
        raise PassError(f"io_config has the type {unknown[0]!r}, which is not known", f"Known: {', '.join(_TYPES)}.")
    return {
        key: _random([int(size) for size in shape], _TYPES[kind])
        for key, shape, kind in zip(names, shapes, types, strict=True)
    }


def _random(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator()).to(dtype)
    return torch.ones(shape, dtype=dtype)


def _cast(leaf: Any, dtype: torch.dtype | None) -> Any:
    return leaf.to(dtype) if dtype and isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf


def _names(arguments: Any, leaves: list[Any], order: list[int], given: list[str]) -> tuple[list[str], list[int]]:
    """Input names in the user's order; names of arguments that are no tensors fall away."""
    flat = isinstance(arguments, dict) and len(leaves) == len(arguments)
    if flat:
        position = {key: index for index, key in enumerate(arguments)}
        wanted = [name for name in given if position.get(name) in order]
        rest = [name for name, index in position.items() if index in order and name not in wanted]
        return [*wanted, *rest], [position[name] for name in [*wanted, *rest]]
    if len(given) < len(order):
        given = [*given, *(f"input_{i}" for i in range(len(given), len(order)))]
    return given[: len(order)], order


def _axes(io: dict[str, Any], names: list[str]) -> dict[str, dict[int, str]]:
    """Open axes from `dynamic_axes`, or from `dynamic_shapes` as torch.export takes them."""
    axes = io.get("dynamic_axes") or {}
    if not axes and io.get("dynamic_shapes"):
        shapes = io["dynamic_shapes"]
        axes = shapes if isinstance(shapes, dict) else dict(zip(names, shapes, strict=False))
    known: dict[str, dict[int, str]] = {}
    for name, dims in axes.items():
        if isinstance(dims, (list, tuple)):
            dims = {dim: f"{name}_{dim}" for dim in dims}
        if dims:
            known[name] = {int(dim): str(axis) for dim, axis in dims.items()}
    return known


def _repeated(example: dict[str, torch.Tensor], axes: dict[str, dict[int, str]], word: str, times: int) -> Any:
    """The example with its open axes of one kind grown."""
    grown = dict(example)
    for name, tensor in example.items():
        for dim, axis in axes.get(name, {}).items():
            if word in axis.lower() and tensor.shape[dim] in (1, 2):
                grown[name] = grown[name].narrow(dim, 0, 1).repeat_interleave(times, dim)
    return grown


def _grown(module: AsCalled, example: dict[str, torch.Tensor], axes: dict[str, dict[int, str]]) -> Any:
    """Open batch axes of size one made two: torch.export takes a one for a number that is always so."""
    grown = _repeated(example, axes, "batch", 2)
    return grown if _runs(module, grown) else example


def _runs(module: AsCalled, inputs: dict[str, torch.Tensor]) -> bool:
    try:
        with torch.no_grad():
            module(list(inputs.values()))
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return False  # the model does not take it: some models have inputs that belong to one batch size
    return True
