"""How much memory an export needs, told from the headers of the weights."""

from __future__ import annotations

from collections.abc import Sequence

from olive_like.artifacts import Adapter, Artifact, HfModel
from olive_like.errors import PassError
from olive_like.passes.weights import read_folder

_LIBRARIES = 600 << 20  # torch, transformers and onnxruntime themselves
_BYTES = {"float16": 2, "fp16": 2, "bfloat16": 2, "bf16": 2}


def export_memory(inputs: Sequence[Artifact], dtype: str | None) -> int | None:
    """The weights as they are exported, once more where the graph has them transposed, and the libraries."""
    source = inputs[0] if inputs else None
    base = source.base if isinstance(source, Adapter) else source
    if not isinstance(base, HfModel):
        return None
    try:
        tensors = read_folder(base.path)
    except (OSError, PassError):
        return None  # said in full when the pass loads the model
    each = _BYTES.get(dtype or "float32", 4)
    return int(sum(tensor.elements for tensor in tensors.values()) * each * 2.5) + _LIBRARIES
