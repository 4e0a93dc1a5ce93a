"""How fast a language model writes before and after it is quantised."""

from __future__ import annotations

from functools import partial

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes import _writing
from olive_like.passes._onnx_files import describe_io, graph_file, load_proto
from olive_like.passes._onnx_rewrite import model_bytes
from olive_like.passes._onnx_runtime import Decoder, vocabulary_of
from olive_like.passes.base import Context


def tell_speed(before: OnnxModel, after: OnnxModel, setting: bool | None, context: Context) -> None:
    """Tokens per second into the record, if it is a model that writes text and `setting` allows."""
    if not _writes_text(before) or not _writing.wanted(setting, model_bytes(before), context):
        return
    prompt = [min(3, vocabulary_of(before) - 1)]
    try:
        old, new = (
            partial(Decoder(model, threads=context.threads, device=context.device).generate, prompt)
            for model in (before, after)
        )
        _writing.tell(old, new, context)
    except PassError as error:  # one of them cannot run here, which is no fault of the quantisation
        context.note(f"tokens per second were not measured: {error.message}")


def _writes_text(model: OnnxModel) -> bool:
    """Whether it is one graph that takes tokens and a cache."""
    if model.attributes.get("components") or model.attributes.get("siblings"):
        return False
    io = describe_io(load_proto(graph_file(model)))
    inputs, outputs = ({value["name"] for value in io[side]} for side in ("inputs", "outputs"))
    return "input_ids" in inputs and "logits" in outputs and any(name.startswith("past") for name in inputs)
