"""Files with the matrices of one adapter: onnxruntime's own format, safetensors, or NumPy's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import safetensors.numpy
from safetensors import SafetensorError

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError

SUFFIXES = {"onnx_adapter": ".onnx_adapter", "safetensors": ".safetensors", "numpy": ".npz"}
Arrays = dict[str, np.ndarray]


def write_adapter(weights: Mapping[str, np.ndarray], stem: Path, form: str) -> Path:
    """Write the matrices to `stem` with the suffix of the format; the same matrices give the same bytes."""
    if form not in SUFFIXES:
        raise PassError(
            "a .pt file is a pickle, which can run code when it is opened: it is not written",
            "safetensors holds the same, and torch reads it; onnx_adapter is what onnxruntime takes.",
        )
    path = stem.with_name(stem.name + SUFFIXES[form])
    arrays = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    if form == "numpy":
        with path.open("wb") as file:
            np.savez(file, **_loosely(arrays))
    elif form == "safetensors":
        safetensors.numpy.save_file(arrays, path)
    else:
        adapter = ort.AdapterFormat()
        adapter.set_adapter_version(1)
        adapter.set_model_version(1)
        adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()})
        adapter.export_adapter(str(path))
    return path


def select_adapters(sources: Sequence[OnnxModel], inputs: Iterable[str], output: Path) -> dict[str, str]:
    """Files beside a graph with those matrices of the models' adapters that are inputs of it: name -> file."""
    wanted, found = set(inputs), {}
    known = [(model.path, dict(model.attributes.get("adapters") or {})) for model in sources]
    for name in dict.fromkeys(name for _, adapters in known for name in adapters):
        files = [folder / adapters[name] for folder, adapters in known if name in adapters]
        weights = {key: value for file in files for key, value in read_adapter(file).items() if key in wanted}
        if weights:
            form = next(form for form, suffix in SUFFIXES.items() if suffix == files[0].suffix)
            found[name] = write_adapter(weights, output / files[0].stem, form).name
    return found


def _loosely(arrays: Arrays) -> dict[str, Any]:
    """NumPy's stubs take one of its own options for the name of an array."""
    return dict(arrays)


def read_adapter(path: Path) -> Arrays:
    """The matrices of a file in any of the formats."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as loaded:
                return {name: loaded[name] for name in loaded.files}
        if path.suffix == ".onnx_adapter":
            values = ort.AdapterFormat.read_adapter(str(path)).get_parameters()
            return {name: value.numpy().copy() for name, value in values.items()}
        return safetensors.numpy.load_file(path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PassError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error
