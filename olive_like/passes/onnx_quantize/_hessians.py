"""What the inputs of a graph's MatMuls look like on calibration data: the sum of their outer products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from olive_like.errors import PassError
from olive_like.passes._onnx_files import load_ir, save_ir
from olive_like.passes._onnx_runtime import ORT_ERRORS, Arrays
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.onnx_quantize._blockwise import Site
from olive_like.passes.onnx_quantize._select import name_nodes

_BUDGET = 512 << 20  # bytes of sums held at a time


@dataclass(frozen=True)
class _Input:
    name: str
    width: int

    @property
    def nbytes(self) -> int:
        return 4 * self.width * self.width


class Hessians:
    """Collects, for some MatMuls at a time, in the order in which they are asked for."""

    def __init__(self, path: Path, feeds: list[Arrays], context: Context) -> None:
        self._path, self._feeds, self._context = path, feeds, context
        self._inputs: dict[str, _Input] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._session: ort.InferenceSession | None = None

    def expect(self, sites: Sequence[Site]) -> None:
        """Say which MatMuls will be asked for."""
        wanted = {str(site.node.name) for site in sites}
        graph = load_ir(self._path)
        name_nodes(graph)
        gemm_to_matmul_add(graph)
        for node in graph.graph:
            source = node.inputs[0] if node.name in wanted else None
            if source is None:
                continue
            weight = next(site.weight for site in sites if site.node.name == node.name)
            assert weight.const_value is not None
            shape = list(weight.const_value.shape)
            columns = next(site.columns for site in sites if site.node.name == node.name)
            if source.type is None:
                source.type = ir.TensorType(weight.const_value.dtype)
            self._inputs[str(node.name)] = _Input(str(source.name), int(shape[-2] if columns else shape[-1]))
            if source not in graph.graph.outputs and source not in graph.graph.inputs:
                graph.graph.outputs.append(source)
        folder = self._context.scratch / f"{self._path.stem}.calibration"
        folder.mkdir(exist_ok=True)
        save_ir(graph, folder / self._path.name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._context.threads
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(folder / self._path.name), options, providers=["CPUExecutionProvider"])

    def of(self, node: str) -> torch.Tensor | None:
        """The sum for a MatMul's input; None if it stands in a subgraph, whose values cannot be seen."""
        if node not in self._inputs:
            return None
        name = self._inputs[node].name
        if name not in self._sums:
            self._collect(node)
        return self._sums[name]

    def _collect(self, first: str) -> None:
        """Run the calibration data once for as many inputs as fit into the budget, beginning with one."""
        self._sums.clear()
        order = list(self._inputs)
        group: dict[str, _Input] = {}
        for node in order[order.index(first) :]:
            wanted = self._inputs[node]
            if group and sum(i.nbytes for i in group.values()) + wanted.nbytes > _BUDGET:
                break
            group[wanted.name] = wanted
        sums = {name: torch.zeros(i.width, i.width) for name, i in group.items()}
        given = {value.name for value in self._session.get_inputs()} if self._session else set()
        outputs = [name for name in sums if name not in given]
        options = ort.RunOptions()
        options.only_execute_path_to_fetches = True
        for feeds in self._feeds:
            values = self._run(outputs, {name: array for name, array in feeds.items() if name in given}, options)
            for name, total in sums.items():
                array = values[name] if name in values else feeds[name]
                rows = torch.from_numpy(np.ascontiguousarray(array.reshape(-1, group[name].width), np.float32))
                total.addmm_(rows.T, rows)
        self._sums = sums

    def _run(self, outputs: list[str], feeds: Arrays, options: ort.RunOptions) -> Arrays:
        assert self._session is not None
        try:
            return dict(zip(outputs, self._session.run(outputs, feeds, options), strict=True)) if outputs else {}
        except ORT_ERRORS as error:
            raise PassError(
                f"onnxruntime could not run the model on the calibration data: {str(error).splitlines()[0]}",
                "Look at the data set's shapes and types.",
            ) from error
