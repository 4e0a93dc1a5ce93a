"""Weights of MatMul, Gemm and Gather into blocks of few bits: which, in what order, and what stands in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.onnx_quantize import _rounding
from olive_like.passes.onnx_quantize._finish import complete
from olive_like.passes.onnx_quantize._report import WeightError, from_products
from olive_like.passes.onnx_quantize._rounding import Blocks, Grid, empty, pack_last, round_columns, round_rows
from olive_like.passes.onnx_quantize._select import (
    all_nodes,
    finite,
    follow_renames,
    matching,
    name_nodes,
    nothing_to_do,
    weight_of,
)
from olive_like.passes.onnx_quantize._weights import Matrix, Room, Spool
from olive_like.passes.onnx_quantize.settings import QuantizingConfig

_SMALLEST_BLOCK = 16
_SAMPLE = 64  # outputs per weight whose error is measured, when a weight is large
_MEASURE_ALL = 1 << 20

Products = tuple[float, float, float, float]
"""|a|, |b|, a·b and |a-b| of weights before and after."""


class Rounder(Protocol):
    """Rounds a matrix: [K, N] if the flag says so, otherwise [N, K]. What is no number leaves a scale that is none."""

    def __call__(self, weights: np.ndarray, columns: bool, spec: Spec, into: Blocks | None = None) -> Blocks: ...


@dataclass(frozen=True)
class Spec:
    """How a weight is quantised."""

    bits: int
    block: int
    symmetric: bool


@dataclass(frozen=True)
class Site:
    """A node with a weight to quantise."""

    node: ir.Node
    weight: ir.Value
    columns: bool  # the weight is [K, N]; otherwise [N, K], as an embedding's table or behind a Transpose

    @property
    def is_gather(self) -> bool:
        return self.node.op_type == "Gather"


@dataclass
class Request:
    """What a pass asks for."""

    spec: Callable[[Site], Spec | None]
    rounder: Rounder
    precision: str
    bits: int
    method: str
    accuracy_level: int = 0
    embeddings: bool = False
    matmuls: bool = True
    include: list[str] | None = None
    exclude: list[str] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    whole: Callable[[Site, Matrix, Spec], tuple[Blocks, Products] | None] | None = None
    """Quantises a weight as a whole, where it needs to be seen whole; None where it cannot."""


def rounder(grid: Grid) -> Rounder:
    """Rounds a matrix block by block, on the grids that a function gives its blocks."""

    def rounded(weights: np.ndarray, columns: bool, spec: Spec, into: Blocks | None = None) -> Blocks:
        return (round_columns if columns else round_rows)(weights, spec.bits, spec.block, spec.symmetric, grid, into)

    return rounded


nearest = rounder(_rounding.nearest)


def quantize(model: OnnxModel, config: QuantizingConfig, context: Context, request: Request) -> OnnxModel:
    """Quantise all weights that the request allows, one after the other."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for graph in graphs.values():
        name_nodes(graph)
    include = matching(graphs.values(), request.include, "nodes_to_include")
    exclude = matching(graphs.values(), request.exclude, "nodes_to_exclude")
    for graph in graphs.values():
        gemm_to_matmul_add(graph)
        include, exclude = follow_renames(graph, include), follow_renames(graph, exclude)
    found = {
        path: [
            s for s in sites(graph, request) if s.node.name not in exclude and (not include or s.node.name in include)
        ]
        for path, graph in graphs.items()
    }
    if not any(found.values()):
        raise nothing_to_do(graphs.values(), _ops(request))
    errors: list[WeightError] = []
    total = sum(len(part) for part in found.values())
    for path, graph in graphs.items():
        spooled = context.scratch / f"{path.stem}.quantized"
        with Spool(spooled) as spool:
            worker = _Worker(graph, spool, context, request)
            for site in found[path]:
                worker.treat(site)
                context.progress(len(errors) + len(worker.treated), total)
        errors += worker.errors
        _graph.drop_unused_weights(graph)
        _graph.need_opset(graph, _graph.CONTRIB, 1)
        save_ir(graph, target_of(model, path, context), like_input(config, path), spooled)
    return complete(
        model, config, context, errors, request.precision, request.bits, method=request.method, **request.more
    )


def _ops(request: Request) -> list[str]:
    return ["MatMul", "Gemm"] * request.matmuls + ["Gather"] * request.embeddings


def sites(graph: ir.Model, request: Request) -> Iterable[Site]:
    """Nodes whose weight can be quantised."""
    for node in all_nodes(graph):
        if request.matmuls and _graph.is_op(node, "MatMul"):
            site = _matmul(node)
        elif request.embeddings and _graph.is_op(node, "Gather") and node.attributes.get_int("axis", 0) == 0:
            weight = weight_of(node, 0)
            site = Site(node, weight, False) if weight is not None and len(_shape(weight)) == 2 else None
        else:
            continue
        if site is not None and _inputs_of(site) >= _SMALLEST_BLOCK:  # tables of biases gain nothing
            yield site


def _inputs_of(site: Site) -> int:
    matrix = Matrix(site.weight)
    return matrix.rows if site.columns else matrix.columns


def _matmul(node: ir.Node) -> Site | None:
    weight = weight_of(node)
    if weight is not None:
        shape = _shape(weight)
        return Site(node, weight, True) if len(shape) >= 2 and all(dim == 1 for dim in shape[:-2]) else None
    source = node.inputs[1].producer() if node.inputs[1] is not None else None
    if source is None or not _graph.is_op(source, "Transpose"):
        return None
    stored = weight_of(source, 0)  # a weight shared with the embedding is often transposed in the graph
    perm = list(source.attributes.get_ints("perm", [1, 0]))
    return Site(node, stored, False) if stored is not None and len(_shape(stored)) == 2 and perm == [1, 0] else None


def _shape(value: ir.Value) -> list[int]:
    assert value.const_value is not None
    return [int(dim) for dim in value.const_value.shape]


class _Worker:
    """Quantises the weights of one graph."""

    def __init__(self, graph: ir.Model, spool: Spool, context: Context, request: Request) -> None:
        self.graph, self.spool, self.context, self.request = graph, spool, context, request
        self.errors: list[WeightError] = []
        self.treated: list[str] = []
        self._done: dict[tuple[int, bool, Spec, bool], list[ir.Value]] = {}
        self._said: set[str] = set()

    def treat(self, site: Site) -> None:
        """Replace one node by its quantised form."""
        spec = self.request.spec(site)
        self.treated.append(str(site.node.name))
        matrix = Matrix(site.weight)
        inner = matrix.rows if site.columns else matrix.columns
        spec = self._fitting(spec, inner, site) if spec else None
        if spec is None:
            return
        # An embedding that also makes the logits is stored once, if both kernels read the same bytes.
        key = (id(site.weight), site.columns, spec, site.is_gather and bool(inner % spec.block))
        if key not in self._done:
            self._done[key] = self._tensors(site, matrix, spec)
        values = list(self._done[key])
        axes = 2 if site.is_gather else 3
        if values[0].const_value is not None and len(values[0].const_value.shape) != axes:
            values[0] = self._reshaped(site, values[0], matrix, spec)
        (self._gather if site.is_gather else self._matmul)(site, values, matrix, spec)

    def _reshaped(self, site: Site, packed: ir.Value, matrix: Matrix, spec: Spec) -> ir.Value:
        """The packed weight of the other kernel in the axes of this one; the runtime folds the Reshape."""
        sizes = [matrix.rows, -1] if site.is_gather else [matrix.rows, -1, spec.block * spec.bits // 8]
        graph = _graph.graph_of(site.node)
        name = _graph.fresh(graph, f"{site.node.name}_shared")
        shape = _graph.add_weight(graph, f"{name}_shape", np.array(sizes, np.int64))
        node = ir.node("Reshape", [packed, shape], name=name)
        node.outputs[0].name = f"{name}_weight"
        graph.insert_before(site.node, node)
        return node.outputs[0]

    def _fitting(self, spec: Spec, inner: int, site: Site) -> Spec | None:
        """The specification with a block that suits the weight's length."""
        block = spec.block
        while block > _SMALLEST_BLOCK and block >= 2 * inner:
            block //= 2
        if block != spec.block:
            self._say(f"block size {block} instead of {spec.block} where a weight has only {inner} inputs")
        if inner % block:
            if site.is_gather and (inner * spec.bits) % 8:
                self._say(
                    f"the embedding {site.weight.name!r} stays: {inner} weights of {spec.bits} bits fill no bytes"
                )
                return None
            self._say(f"{inner} inputs are no multiple of the block size {block}: the last block is smaller")
        return Spec(spec.bits, block, spec.symmetric)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.context.note(text)

    def _tensors(self, site: Site, matrix: Matrix, spec: Spec) -> list[ir.Value]:
        """Quantise a weight piece by piece; its new tensors, already in the spool."""
        found = self.request.whole(site, matrix, spec) if self.request.whole else None
        if found is None:
            found = round_matrix(matrix, site.columns, spec, self.request.rounder, self.context.threads)
        blocks, error = found
        name, bits = str(site.weight.name), spec.bits
        suffix = "" if (id(site.weight), not site.columns) not in {key[:2] for key in self._done} else "_t"
        packed = blocks.packed
        if site.is_gather:
            packed = packed.reshape(matrix.rows, -1)[:, : matrix.columns * bits // 8]
        scales = blocks.scales if matrix.dtype == ir.DataType.FLOAT else blocks.scales.astype(matrix.dtype.numpy())
        values = [
            self.spool.put(f"{name}{suffix}_Q{bits}", packed),
            self.spool.put(f"{name}{suffix}_scales", scales, matrix.dtype),
        ]
        if blocks.zeros is not None:
            values.append(self.spool.put(f"{name}{suffix}_zero_points", pack_last(blocks.zeros, bits)))
        stored = sum(value.const_value.nbytes for value in values if value.const_value is not None)
        self.errors.append(from_products(name, *error, matrix.size, stored))
        home = site.weight.graph
        assert home is not None
        for value in values:
            while value.name in home.initializers:
                value.name = f"{value.name}_"
            home.register_initializer(value)
        return values

    def _matmul(self, site: Site, values: list[ir.Value], matrix: Matrix, spec: Spec) -> None:
        inner, outer = (matrix.rows, matrix.columns) if site.columns else (matrix.columns, matrix.rows)
        attributes = {"K": inner, "N": outer, "bits": spec.bits, "block_size": spec.block}
        if self.request.accuracy_level:
            attributes["accuracy_level"] = self.request.accuracy_level
        transpose = site.node.inputs[1].producer() if not site.columns and site.node.inputs[1] is not None else None
        self._swap(site, "MatMulNBits", [site.node.inputs[0], *values], attributes)
        if transpose is not None:
            _graph.remove([transpose])

    def _gather(self, site: Site, values: list[ir.Value], matrix: Matrix, spec: Spec) -> None:
        packed, scales, *zeros = values
        attributes = {"bits": spec.bits, "block_size": spec.block, "gather_axis": 0, "quantize_axis": 1}
        self._swap(site, "GatherBlockQuantized", [packed, site.node.inputs[1], scales, *zeros], attributes)

    def _swap(self, site: Site, op: str, inputs: list[Any], attributes: dict[str, int]) -> None:
        new = ir.node(op, inputs, attributes, domain=_graph.CONTRIB, name=f"{site.node.name}_Q{attributes['bits']}")
        _graph.replace([site.node], [new])


def round_matrix(matrix: Matrix, columns: bool, spec: Spec, rounder: Rounder, threads: int) -> tuple[Blocks, Products]:
    """Round a matrix piece by piece; with norms and products of a sample of it, from which its error follows."""
    inner, outer = (matrix.rows, matrix.columns) if columns else (matrix.columns, matrix.rows)
    whole = empty(outer, -(-inner // spec.block), spec.block, spec.bits, spec.symmetric)
    room = Room()

    def work(span: tuple[int, int]) -> np.ndarray:
        start, stop = span
        weights = matrix.read_unchecked(start, stop, room)
        where = np.s_[:, start // spec.block : -(-stop // spec.block)] if columns else np.s_[start:stop, :]
        part = whole.part(where)
        with np.errstate(all="ignore"):
            rounder(weights, columns, spec, part)
        if not np.isfinite(part.scales).all():
            finite(matrix.value, weights)
        return _products(weights, columns, part, spec.bits, matrix.size)

    spans = list(matrix.pieces(spec.block if columns else 1))
    if threads > 1 and len(spans) > 1:
        with ThreadPoolExecutor(threads) as pool:
            sums = sum(pool.map(work, spans))
    else:
        sums = sum(map(work, spans))
    aa, bb, ab, dd = (float(value) for value in np.asarray(sums))
    return whole, (aa**0.5, bb**0.5, ab, dd**0.5)


def _products(weights: np.ndarray, columns: bool, part: Blocks, bits: int, size: int) -> np.ndarray:
    """|a|², |b|², a·b and |a-b|² of weights before and after; of a large matrix, for some outputs."""
    outputs = weights.shape[1] if columns else weights.shape[0]
    stride = 1 if size <= _MEASURE_ALL else max(1, outputs // _SAMPLE)
    chosen = np.s_[::stride]
    before = (weights[:, chosen].T if columns else weights[chosen]).reshape(-1)
    inner = weights.shape[0] if columns else weights.shape[1]
    after = part.restored(bits, chosen)[:, :inner].reshape(-1)
    difference = before - after
    pairs = ((before, before), (after, after), (before, after), (difference, difference))
    return np.array([np.dot(a, b) for a, b in pairs], np.float64)
