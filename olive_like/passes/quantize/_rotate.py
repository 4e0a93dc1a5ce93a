"""Orthogonal matrices fused into a model: the residual stream turned as a whole, and the value heads each.

Norms are emptied into the layers that read them first, because a rotation and a norm's own weights do not commute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._family import Family, family_of, norm_offset
from olive_like.passes.quantize._passthrough import Change, rewrite
from olive_like.passes.quantize._skeleton import Skeleton, finite, load_skeleton

_ORTHOGONAL = 1e-5


def quarot(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "Rotate the model before it is quantised.")
    plan = plan_rotation(skeleton, "QuaRot")
    draw = torch.Generator().manual_seed(config.seed)
    residual = orthogonal(plan.width, config.rotate_mode, draw)
    value = orthogonal(plan.family.head_dim, config.rotate_mode, draw)
    with torch.inference_mode():
        write_rotated(model, skeleton, plan, residual, [value] * plan.layers, context)
    return HfModel(context.output, model.attributes)


def orthogonal(size: int, mode: str, draw: torch.Generator) -> torch.Tensor:
    """A random rotation: Hadamard's with random signs, as far as the size is a power of two, or any."""
    power = (size & -size) if mode == "hadamard" else 1
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < power:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)]) / 2**0.5
    rest = size // power
    if rest > 1:
        odd, upper = torch.linalg.qr(torch.randn(rest, rest, generator=draw, dtype=torch.float64))
        matrix = torch.kron((odd * upper.diagonal().sign()).contiguous(), matrix)
    signs = torch.randint(0, 2, (size,), generator=draw, dtype=torch.float64) * 2 - 1
    matrix = matrix * signs.unsqueeze(1)
    check_orthogonal(matrix)
    return matrix


def check_orthogonal(matrix: torch.Tensor) -> float:
    """How far a rotation is from one; more than rounding is refused."""
    gap = float((matrix.T @ matrix - torch.eye(matrix.shape[1], dtype=matrix.dtype)).abs().max())
    if gap > _ORTHOGONAL:
        raise PassError(f"the rotation of {len(matrix)} is not orthogonal: off by {gap:.1e}")
    return gap


@dataclass(frozen=True)
class Plan:
    """Where a model's rotations go."""

    family: Family
    prefix: str  # of the blocks
    layers: int
    width: int
    embedding: str
    head: str
    final_norm: str


def plan_rotation(skeleton: Skeleton, what: str) -> Plan:
    name, blocks = skeleton.blocks()
    family = family_of(blocks[0], skeleton.config, what)
    norm = type(blocks[0].get_submodule(family.attention_norm)).__name__
    if "RMSNorm" not in norm:
        raise PassError(f"{what} takes models with RMSNorm, and {type(blocks[0]).__name__} has {norm}")
    if "post_feedforward_layernorm" in dict(blocks[0].named_modules()):
        raise PassError(
            f"{what} cannot turn the output of {type(blocks[0]).__name__}, which is normed before it is added",
            "Models with norms behind attention and MLP (Gemma 2 and 3, OLMo 2) cannot be rotated.",
        )
    head, embedding = skeleton.head, skeleton.embedding
    if head is None or embedding is None:
        raise PassError(f"{what} takes language models with an output head, not {type(skeleton.model).__name__}")
    parent = name.rpartition(".")[0]
    final = f"{parent}.norm" if parent else "norm"
    if skeleton.stored(final) is None:
        raise PassError(f"{what} does not find the last norm of {type(skeleton.model).__name__}")
    width = skeleton.model.get_input_embeddings().weight.shape[1]
    return Plan(family, name, len(blocks), width, embedding, head, final)


@dataclass
class Turned:
    """The tensors that a rotation changes."""

    changes: dict[str, Change]
    shapes: dict[str, tuple[int, ...]]  # of those that a rotation to fewer dimensions makes narrower
    added: dict[str, str]  # the head's own matrix, where it had none
    untied: bool


def write_rotated(
    model: HfModel,
    skeleton: Skeleton,
    plan: Plan,
    residual: torch.Tensor,
    values: list[torch.Tensor],
    context: Context,
    config: dict[str, Any] | None = None,
) -> None:
    """The rotated model, tensor by tensor. Head and embedding part ways: only one of them takes up the last norm."""
    turned = rotation_changes(skeleton, plan, residual, values)
    settings = {**(config or {}), **({"tie_word_embeddings": False} if turned.untied else {})}
    if turned.untied:
        context.note("head and embedding were one matrix and are two now: the last norm went into the head")
    rewrite(model.path, context.output, skeleton.checkpoint, turned.changes, settings, turned.added, turned.shapes)
    context.metric("orthogonality", max(check_orthogonal(residual), *(check_orthogonal(v) for v in values)))


def rotation_changes(skeleton: Skeleton, plan: Plan, residual: torch.Tensor, values: list[torch.Tensor]) -> Turned:
    """`residual`: orthonormal columns, as many as the stream has or fewer, which leaves a narrower model."""
    family = plan.family
    changes: dict[str, Change] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    width, kept = residual.shape

    def read(name: str, start: int, stop: int | None) -> torch.Tensor:
        return finite(skeleton.checkpoint.read(name, start, stop).double(), name)

    def tensor(module: str, part: str = "weight") -> str | None:
        stored = skeleton.stored(module, part)
        return None if stored is None else f"{stored}.{part}"

    def gain(norm: str) -> torch.Tensor:
        module: nn.Module = skeleton.model.get_submodule(norm)
        name = tensor(norm)
        assert name is not None
        return read(name, 0, None) + norm_offset(module)

    def empty(norm: str) -> None:
        offset = norm_offset(skeleton.model.get_submodule(norm))
        name = tensor(norm)
        assert name is not None
        # A norm divides by the mean square, which is larger over the fewer dimensions.
        level = (width / kept) ** 0.5 - offset
        shapes[name] = (kept,)
        changes[name] = lambda start, stop: torch.full((stop - start,), level, dtype=torch.float64)

    def reader(module: str, factor: torch.Tensor) -> None:
        """x -> W diag(g) x, in turned coordinates."""
        name = tensor(module)
        assert name is not None
        shapes[name] = (skeleton.checkpoint.entries[name].shape[0], kept)
        changes[name] = lambda start, stop: (read(name, start, stop) * factor) @ residual

    def writer(module: str, inner: torch.Tensor | None) -> None:
        """Outputs turned back into the stream; `inner` turns each head that comes in."""
        name = tensor(module)
        assert name is not None

        def change(start: int, stop: int) -> torch.Tensor:
            weight = read(name, 0, None)
            if inner is not None:
                heads = weight.view(len(weight), -1, len(inner))
                weight = (heads @ inner).reshape(weight.shape)
            return (residual.T @ weight)[start:stop]

        shapes[name] = (kept, *skeleton.checkpoint.entries[name].shape[1:])
        changes[name] = change
        bias = tensor(module, "bias")
        if bias is not None:
            shapes[bias] = (kept,)
            changes[bias] = lambda start, stop: (residual.T @ read(bias, 0, None))[start:stop]

    def value_rows(module: str, turn: torch.Tensor, rows: tuple[int, int] | None, factor: torch.Tensor) -> None:
        name = tensor(module)
        assert name is not None

        def turned(weight: torch.Tensor) -> torch.Tensor:
            low, high = rows or (0, len(weight))
            part = weight[low:high].view(-1, len(turn), *weight.shape[1:])
            out = torch.einsum("hi...,ij->hj...", part, turn).reshape(weight[low:high].shape)
            return torch.cat([weight[:low], out, weight[high:]])

        shapes[name] = (skeleton.checkpoint.entries[name].shape[0], kept)
        changes[name] = lambda start, stop: (turned(read(name, 0, None) * factor) @ residual)[start:stop]
        bias = tensor(module, "bias")
        if bias is not None:
            changes[bias] = lambda start, stop: turned(read(bias, 0, None))[start:stop]

    for index in range(plan.layers):
        at = f"{plan.prefix}.{index}."
        before_attention, before_mlp = gain(at + family.attention_norm), gain(at + family.mlp_norm)
        for name in family.attention_in:
            if name == family.value:
                value_rows(at + name, values[index], family.value_rows, before_attention)
            else:
                reader(at + name, before_attention)
        writer(at + family.attention_out, values[index])
        for name in family.mlp_in:
            reader(at + name, before_mlp)
        writer(at + family.mlp_out, None)
        empty(at + family.attention_norm)
        empty(at + family.mlp_norm)
    last = gain(plan.final_norm)
    empty(plan.final_norm)
    embedding = tensor(plan.embedding)
    assert embedding is not None
    changes[embedding] = lambda start, stop: read(embedding, start, stop) @ residual
    head = tensor(plan.head)
    untied = head is None or (skeleton.tied and head == embedding)
    head = head if head is not None and not untied else f"{plan.head}.weight"
    source = embedding if untied else head
    changes[head] = lambda start, stop: (read(source, start, stop) * last) @ residual
    shapes[embedding] = shapes[head] = (skeleton.checkpoint.entries[embedding].shape[0], kept)
    return Turned(changes, shapes, {head: embedding} if untied else {}, untied or skeleton.tied)
