"""GPTQ: columns rounded one after the other, each error spread over the columns that are still free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.onnx_quantize._blockwise import Products, Request, Site, Spec, nearest, sites
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks
from olive_like.passes.onnx_quantize._calibration import calibration_feeds
from olive_like.passes.onnx_quantize._hessians import Hessians
from olive_like.passes.onnx_quantize._rounding import Blocks, pack_last
from olive_like.passes.onnx_quantize._select import matching, name_nodes
from olive_like.passes.onnx_quantize._weights import Matrix

_LAZY = 128  # columns whose errors are gathered before the rest of the matrix takes note of them


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All weights of MatMul and Gemm whose inputs can be seen; the others are rounded to the nearest."""
    torch.set_num_threads(max(1, context.threads))
    spec = Spec(config.bits, config.block_size, config.is_symmetric)
    worker = _Gptq(config, context)
    request = Request(
        spec=lambda _: spec,
        rounder=nearest,
        precision=f"int{config.bits}",
        bits=config.bits,
        method="gptq",
        accuracy_level=config.accuracy_level,
        include=config.nodes_to_include,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size, "symmetric": config.is_symmetric, "outputs": worker.outputs},
        whole=worker.treat,
    )
    worker.prepare(model, request)
    result = quantize_blocks(model, config, context, request)
    if worker.outputs:
        context.metric("mean_output_error", float(np.mean([entry["gptq"] for entry in worker.outputs.values()])))
        context.metric("mean_output_error_rtn", float(np.mean([entry["rtn"] for entry in worker.outputs.values()])))
    return result


@dataclass
class _Gptq:
    config: Any
    context: Context
    outputs: dict[str, dict[str, float]] = field(default_factory=dict)  # relative error of a MatMul's output
    _sources: list[Hessians] = field(default_factory=list)

    def prepare(self, model: OnnxModel, request: Request) -> None:
        """Read the calibration data, and find out which MatMuls will be asked for."""
        graphs = {path: load_ir(path) for path in components(model).values()}
        for graph in graphs.values():
            name_nodes(graph)
        for setting in ("nodes_to_include", "nodes_to_exclude"):  # before the long work, not after it
            matching(graphs.values(), getattr(self.config, setting), setting)
        for path, graph in graphs.items():
            gemm_to_matmul_add(graph)
            found = list(sites(graph, request))
            if not found:
                continue
            feeds = calibration_feeds(
                model, path, self.config.data_config, self.config.calibration_samples, self.context
            )
            self.context.metric("calibration_examples", len(feeds))
            source = Hessians(path, feeds, self.context)
            source.expect(found)
            self._sources.append(source)

    def treat(self, site: Site, matrix: Matrix, spec: Spec) -> tuple[Blocks, Products] | None:
        """One weight."""
        name = str(site.node.name)
        hessian = next((h for h in (source.of(name) for source in self._sources) if h is not None), None)
        if hessian is None:
            self.context.note(f"{name} is rounded to the nearest: the values inside a subgraph cannot be seen")
            return None
        weights = torch.from_numpy(np.array(matrix.read(0, matrix.rows), np.float32))
        weights = weights.T.contiguous() if site.columns else weights  # [N, K]
        blocks = compensate(weights, hessian, spec, self.config.damp_percent, self.config.actorder, name)
        inner = weights.shape[1]
        after = torch.from_numpy(blocks.restored(spec.bits)[:, :inner])
        plain = torch.from_numpy(nearest(weights.numpy(), False, spec).restored(spec.bits)[:, :inner])
        scale = _energy(weights, hessian)
        if scale > 0:
            self.outputs[name] = {
                "gptq": round((_energy(weights - after, hessian) / scale) ** 0.5, 6),
                "rtn": round((_energy(weights - plain, hessian) / scale) ** 0.5, 6),
            }
        a, b = weights.reshape(-1), after.reshape(-1)
        products = (float(a.norm()), float(b.norm()), float(a @ b), float((a - b).norm()))
        return blocks, products


def _energy(weights: torch.Tensor, hessian: torch.Tensor) -> float:
    """The squared size of the output that weights make of the calibration data."""
    return float(((weights @ hessian) * weights).sum())


def compensate(
    weights: torch.Tensor, hessian: torch.Tensor, spec: Spec, damp: float, reorder: bool, name: str
) -> Blocks:
    """Quantise [N, K] in blocks along K."""
    outputs, inner = weights.shape
    w, inverse, order = _prepared(weights, hessian, damp, reorder, name)
    blocks = -(-inner // spec.block)
    scales, zeros = torch.empty(outputs, blocks), torch.empty(outputs, blocks)
    if reorder:  # the blocks stay where they are, so their scales are found before any column moves
        for block in range(blocks):
            part = weights[:, block * spec.block : (block + 1) * spec.block]
            scales[:, block], zeros[:, block] = _grid(part, spec)
    q = torch.empty(outputs, inner)
    top = (1 << spec.bits) - 1
    for start in range(0, inner, _LAZY):
        stop = min(start + _LAZY, inner)
        errors = torch.empty(outputs, stop - start)
        local = w[:, start:stop]
        for column in range(start, stop):
            here = column - start
            block = int(order[column]) // spec.block
            if not reorder and column % spec.block == 0:
                # Columns further right know of the errors before `start` only; those in between come from `local`.
                ahead = w[:, column : min(column + spec.block, inner)]
                scales[:, block], zeros[:, block] = _grid(ahead, spec)
            scale, zero = scales[:, block], zeros[:, block]
            value = local[:, here]
            q[:, column] = torch.clamp(torch.round(value / scale) + zero, 0, top)
            errors[:, here] = (value - (q[:, column] - zero) * scale) / inverse[column, column]
            local[:, here:] -= errors[:, here : here + 1] * inverse[column, column:stop]
        w[:, stop:] -= errors @ inverse[start:stop, stop:]
    if reorder:
        q = q[:, torch.argsort(order)]
    return _as_blocks(q, scales, zeros, spec)


def _prepared(
    weights: torch.Tensor, hessian: torch.Tensor, damp: float, reorder: bool, name: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights and the upper Cholesky factor of the inverse Hessian, in the order in which columns are treated."""
    w, h = weights.clone(), hessian.clone()
    diagonal = h.diagonal()
    if not torch.isfinite(diagonal).all():
        raise PassError(f"the inputs of {name} hold NaN or infinity on the calibration data", "Look at the data set.")
    dead = diagonal == 0
    diagonal[dead] = 1
    w[:, dead] = 0  # an input that is always zero: its weights do nothing
    order = torch.argsort(diagonal, descending=True, stable=True) if reorder else torch.arange(h.shape[0])
    if reorder:
        w, h = w[:, order], h[order][:, order]
    mean = h.diagonal().mean()
    for attempt in range(4):  # inputs that depend on each other need more damping
        h.diagonal().add_(damp * mean * 10**attempt)
        factor, failed = torch.linalg.cholesky_ex(h)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
            if not failed:
                return w, upper, order
    raise PassError(f"the inputs of {name} depend on each other too much", "Raise `damp_percent`, or give more data.")


def _grid(weights: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of one block of every output."""
    high, low = weights.amax(1), weights.amin(1)
    top = (1 << spec.bits) - 1
    if spec.symmetric:
        scale = torch.where(high > -low, high, low) / -float(1 << (spec.bits - 1))
        zero = torch.full_like(scale, float(1 << (spec.bits - 1)))
    else:
        high, low = high.clamp(min=0), low.clamp(max=0)
        scale = (high - low) / top
        zero = torch.round(-low / torch.where(scale == 0, torch.ones_like(scale), scale))
    return torch.where(scale == 0, torch.ones_like(scale), scale), zero


def _as_blocks(q: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, spec: Spec) -> Blocks:
    outputs, inner = q.shape
    blocks = scales.shape[1]
    # What fills up the last block is at the zero point, so that it stands for zero.
    padded = zeros.repeat_interleave(spec.block, 1)
    padded[:, :inner] = q
    packed = pack_last(padded.to(torch.uint8).reshape(outputs, blocks, spec.block).numpy(), spec.bits)
    return Blocks(packed, scales.numpy(), None if spec.symmetric else zeros.to(torch.uint8).numpy())
