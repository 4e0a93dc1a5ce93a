"""Is an ONNX header safe to work with: data files inside its folder and whole, names unique, no cycles."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import uses_external_data

from olive_like.errors import PassError

_EXTERNAL_KEYS = ("location", "offset", "length")
_NO_LINKS = "Copy the model so that its data files are plain files in the model's own folder."
_DOWNLOAD = "The file is damaged or incomplete: export or download the model again."


def read_header(path: Path) -> onnx.ModelProto:
    """The graph without its external weights, refused where it is not safe or not whole."""
    _plain_file(path, path.name)
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise PassError(f"{path.name} is not an ONNX model: {error}", _DOWNLOAD) from None
    if not model.HasField("graph") or not model.opset_import:
        raise PassError(f"{path.name} is not an ONNX model: it has no {_missing(model)}", _DOWNLOAD)
    check_header(model, path)
    return model


def _missing(model: onnx.ModelProto) -> str:
    return "opset" if model.HasField("graph") else "graph"


def check_header(model: onnx.ModelProto, path: Path) -> None:
    """Everything that can be told about a model from its header and the sizes of its data files."""
    sizes: dict[str, int] = {}
    for tensor in tensors(model):
        if uses_external_data(tensor):
            _check_external(tensor, path, sizes)
    _check_order(model.graph, path.name)
    for function in model.functions:
        _check_order(function, f"{path.name}, function {function.name}")
    _check_calls(model, path.name)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: initializers and nodes' attributes, subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in _attribute_graphs(attribute):
                yield from _graph_tensors(graph)


def _attribute_graphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def data_files(model: onnx.ModelProto) -> set[str]:
    """Names, relative to the graph's folder, of the files that hold the model's weights."""
    return {_entries(tensor).get("location", "") for tensor in tensors(model) if uses_external_data(tensor)}


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _check_external(tensor: onnx.TensorProto, path: Path, sizes: dict[str, int]) -> None:
    entries = _entries(tensor)
    what = f"the weight {tensor.name[:80]!r} of {path.name}"
    location = entries.get("location", "")
    _inside(location, what)
    if location not in sizes:
        _no_linked_folder(path.parent, location, what)
        sizes[location] = _plain_file(path.parent / location, what)
    offset, length = (_natural(entries, key, what) for key in _EXTERNAL_KEYS[1:])
    wanted = bytes_of(tensor)
    if wanted is not None and "length" in entries and length != wanted:
        raise PassError(f"{what} needs {wanted:,} bytes by its shape and declares {length:,}", _DOWNLOAD)
    end = offset + (wanted if wanted is not None and "length" not in entries else length)
    if end > sizes[location]:
        raise PassError(f"{what} ends at byte {end:,} of {location}, which has {sizes[location]:,}", _DOWNLOAD)


def _inside(location: str, what: str) -> None:
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    climbs = ".." in posix.parts or ".." in windows.parts
    if not location or "\0" in location or posix.is_absolute() or windows.is_absolute() or windows.drive or climbs:
        raise PassError(
            f"{what} lies in {location[:120]!r}, outside of the model's folder",
            "Weights may only be read from the folder of the model; do not use this file if you do not know why.",
        )


def _plain_file(path: Path, what: str) -> int:
    """The size of a file that is neither a link nor shared with another name."""
    try:
        info = os.lstat(path)
    except OSError as error:
        raise PassError(f"{what}: cannot read {path.name}: {error.strerror}", _DOWNLOAD) from None
    if stat.S_ISLNK(info.st_mode):
        raise PassError(f"{what}: {path.name} is a symbolic link, which ONNX runtimes refuse", _NO_LINKS)
    if not stat.S_ISREG(info.st_mode):
        raise PassError(f"{what}: {path.name} is not a plain file", _NO_LINKS)
    if info.st_nlink > 1:
        raise PassError(f"{what}: {path.name} is a hard link, which ONNX runtimes refuse", _NO_LINKS)
    return info.st_size


def _no_linked_folder(root: Path, location: str, what: str) -> None:
    """Refuse a link on the way from the model's folder, which may be one itself, down to a data file."""
    for parent in PurePosixPath(location).parents:
        if str(parent) != "." and (root / parent).is_symlink():
            raise PassError(f"{what}: the folder {parent} is a symbolic link, which ONNX runtimes refuse", _NO_LINKS)


def _natural(entries: dict[str, str], key: str, what: str) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise PassError(f"{what} has the {key} {text[:40]!r}, which is no size in bytes", _DOWNLOAD)
    return int(text)


def bytes_of(tensor: onnx.TensorProto) -> int | None:
    """Bytes that the type and shape ask for; None for types without a fixed size."""
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        return None
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise PassError(f"the weight {tensor.name[:80]!r} has the dimension {dim}", _DOWNLOAD)
        count *= dim
    return (count * bits + 7) // 8


def _bits() -> dict[int, int]:
    """Width of every numeric type that this onnx knows."""
    table: dict[int, int] = {}
    for name, number in onnx.TensorProto.DataType.items():
        if name in ("UNDEFINED", "STRING"):
            continue
        narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
        table[number] = narrow.get(name) or onnx.helper.tensor_dtype_to_np_dtype(number).itemsize * 8
    return table


_BITS = _bits()


def _check_order(graph: onnx.GraphProto | onnx.FunctionProto, what: str) -> None:
    """Refuse a graph in which a node needs, through others, what it makes itself."""
    maker: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in maker:
                raise PassError(f"{what}: two nodes make the value {name[:80]!r}", _DOWNLOAD)
            maker[name] = index
    needs: dict[int, set[int]] = {}
    for index, node in enumerate(graph.node):
        needs[index] = {maker[name] for name in _needed(node) if name in maker}
        for attribute in node.attribute:
            for inner in _attribute_graphs(attribute):
                _check_order(inner, what)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle = " -> ".join(_label(graph.node[index]) for index in error.args[1][:6])
        raise PassError(f"{what}: the graph has a cycle: {cycle}", "A model cannot run in circles.") from None


def _needed(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, what its subgraphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in _attribute_graphs(attribute):
            made = {name for inner in graph.node for name in inner.output} | {value.name for value in graph.input}
            yield from (name for inner in graph.node for name in _needed(inner) if name not in made)
            yield from (value.name for value in graph.output if value.name not in made)


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {(node.name or next(iter(node.output), ''))[:60]!r}"


def _check_calls(model: onnx.ModelProto, what: str) -> None:
    """Refuse functions that call themselves."""
    known = {(function.domain, function.name) for function in model.functions}
    calls = {
        (function.domain, function.name): {(n.domain, n.op_type) for n in _all_nodes(function.node)} & known
        for function in model.functions
    }
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as error:
        names = " -> ".join(name for _, name in error.args[1][:6])
        raise PassError(f"{what}: functions call each other in a cycle: {names}", _DOWNLOAD) from None


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _attribute_graphs(attribute):
                yield from _all_nodes(graph.node)
