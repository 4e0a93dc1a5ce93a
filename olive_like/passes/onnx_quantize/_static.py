"""Static quantisation by onnxruntime: ranges of activations from calibration data, then integers or float8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.execution_providers.qnn.mixed_precision_overrides_utils import (
    MixedPrecisionTensorQuantOverridesFixer,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.tensor_quant_overrides import TensorQuantOverridesHelper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, load_proto, save_ir
from olive_like.passes._onnx_rewrite import like_input, model_bytes, target_of
from olive_like.passes._onnx_runtime import ORT_ERRORS, Arrays
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._precision_overrides import ATTRIBUTE
from olive_like.passes.onnx_graph.surgeons._graph import scalar
from olive_like.passes.onnx_quantize._calibration import calibration_feeds
from olive_like.passes.onnx_quantize._finish import complete
from olive_like.passes.onnx_quantize._integer import (
    allowed_ops,
    check_weights,
    filters,
    integer_errors,
    is_large,
    options,
    quiet,
    scratch_file,
)
from olive_like.passes.onnx_quantize._preprocess import prepare
from olive_like.passes.onnx_quantize._report import WeightError
from olive_like.passes.onnx_quantize._select import FLOATS, all_nodes, name_nodes, names, nothing_to_do

_TYPES = {
    "int4": QuantType.QInt4,
    "uint4": QuantType.QUInt4,
    "int8": QuantType.QInt8,
    "uint8": QuantType.QUInt8,
    "int16": QuantType.QInt16,
    "uint16": QuantType.QUInt16,
}
_HUGE = 1e9
_SOFTMAX = ("Softmax", "Attention", "MultiHeadAttention", "PackedAttention", "PackedMultiHeadAttention")
_BIASED = ("Gemm", "Conv", "ConvTranspose")  # their third input becomes int32, by the scales of the first two
_BITS = {"int4": 4, "uint4": 4, "int16": 16, "uint16": 16}


class _Reader(CalibrationDataReader):
    """Hands out calibration inputs one by one, or a range of them."""

    def __init__(self, feeds: list[Arrays]) -> None:
        self._feeds = feeds
        self.set_range(0, len(feeds))

    def set_range(self, start_index: int, end_index: int) -> None:
        self._iterator = iter(self._feeds[start_index:end_index])

    def get_next(self) -> Arrays | None:
        return next(self._iterator, None)

    def __len__(self) -> int:
        return len(self._feeds)


def quantize_statically(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Weights and activations, ranges measured beforehand."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for graph in graphs.values():
        name_nodes(graph)
    registry = QDQRegistry if config.quant_format == "QDQ" else QLinearOpsRegistry
    ops = allowed_ops(config, sorted({*registry, *(QLinearOpsRegistry if config.quant_format == "QDQ" else ())}))
    include, exclude = filters(config, graphs)
    errors: list[WeightError] = []
    quantized, seen = 0, set()
    for path, graph in graphs.items():
        check_weights(graph, ops)
        work = scratch_file(context, path)
        save_ir(graph, work)
        ready = prepare(work) if config.quant_preprocess else work
        before = load_ir(ready)
        name_nodes(before)
        own_biases(before)
        save_ir(before, ready.with_suffix(".named.onnx"))
        feeds = calibration_feeds(model, path, config.data_config, config.calibration_samples, context)
        context.metric("calibration_examples", len(feeds))
        result = work.with_suffix(".quantized.onnx")
        masks = mask_nodes(before)
        if masks:
            context.note(f"{len(masks)} nodes of attention masks stay float: their values span 38 powers of ten")
        kept = (include & names(before), (exclude & names(before)) | masks)
        seen |= _tensors(before)
        own = own_types(model, before, ready.with_suffix(".named.onnx"), config)
        _run(ready.with_suffix(".named.onnx"), result, feeds, ops, kept, is_large(before), config, own)
        after = load_ir(result)
        quantized += sum(node.op_type == "QuantizeLinear" for node in after.graph)
        errors += integer_errors(before, after)
        save_ir(after, target_of(model, path, context), like_input(config, path))
    lost = lost_types(model, seen, config)
    if lost:
        why = (
            "QOperator has one type for all" if config.quant_format != "QDQ" else "the prepared graph has them no more"
        )
        context.warn(f"{lost} tensors do not get the types that MixedPrecisionOverrides chose: {why}")
    if not errors and not quantized:
        raise nothing_to_do(graphs.values(), ops)
    bits = min(_BITS.get(kind, 8) for kind in (config.precision, config.activation_type))
    done = complete(model, config, context, errors, config.precision, bits, method="static")
    if model_bytes(done) >= model_bytes(model):
        context.warn(
            "the quantised model is no smaller: its weights were quantised before, or too few nodes were to be touched"
        )
    return done


def own_biases(graph: ir.Model) -> None:
    """Give each layer a bias of its own: the same numbers are of another type where something else reads them."""
    for node in all_nodes(graph):
        bias = node.inputs[2] if node.op_type in _BIASED and len(node.inputs) > 2 else None
        if bias is None or bias.const_value is None or len(list(bias.uses())) < 2 or node.graph is None:
            continue
        name = f"{bias.name}_of_{node.name}"
        own = ir.Value(name=name, shape=bias.shape, type=bias.type, const_value=bias.const_value)
        node.graph.register_initializer(own)
        node.replace_input_with(2, own)


def mask_nodes(graph: ir.Model) -> set[str]:
    """Nodes through which the huge constants of attention masks go, up to what makes zeros of them.

    Quantised, they would leave one step of the scale for all scores.
    """
    found: set[str] = set()
    waiting = [node for node in all_nodes(graph) if any(_is_huge(value) for value in node.inputs)]
    while waiting:
        node = waiting.pop()
        if node.name in found:
            continue
        found.add(str(node.name))
        if node.op_type not in _SOFTMAX:
            waiting += [use.node for output in node.outputs for use in output.uses()]
    return found


def _is_huge(value: ir.Value | None) -> bool:
    if value is None or value.dtype not in FLOATS:  # the ends of Slices are huge too, and harmless
        return False
    number = scalar(value)
    return number is not None and abs(number) > _HUGE


def _run(
    source: Path,
    target: Path,
    feeds: list[Arrays],
    ops: list[str],
    kept: tuple[set[str], set[str]],
    large: bool,
    config: Any,
    own: dict[str, Any],
) -> None:
    try:
        with quiet():
            quantize_static(
                source,
                target,
                _Reader(feeds),
                quant_format=QuantFormat[config.quant_format],
                op_types_to_quantize=ops,
                per_channel=config.per_channel,
                reduce_range=config.reduce_range,
                activation_type=_TYPES[config.activation_type],
                weight_type=_TYPES[config.precision],
                nodes_to_quantize=sorted(kept[0]),
                nodes_to_exclude=sorted(kept[1]),
                use_external_data_format=large,
                calibrate_method=CalibrationMethod[config.calibrate_method],
                calibration_providers=config.calibration_providers or ["CPUExecutionProvider"],
                extra_options=_options(config, own),
            )
    except ORT_ERRORS as error:
        raise PassError(
            f"onnxruntime could not run the model on the calibration data: {str(error).splitlines()[0]}",
            "Look at the data set's shapes and types.",
        ) from error


def _options(config: Any, own: dict[str, Any]) -> dict[str, Any]:
    chosen = options(config)
    if config.prepare_qdq_config and config.quant_format == "QDQ":
        chosen = {"ForceQuantizeNoInputCheck": True, "QDQKeepRemovableActivations": False} | chosen
    if config.min_real_range is not None:
        chosen["MinimumRealRange"] = config.min_real_range
    if own:
        chosen["TensorQuantOverrides"] = own
    return chosen


def own_types(model: OnnxModel, graph: ir.Model, file: Path, config: Any) -> dict[str, Any]:
    """Tensors with settings of their own: those that an earlier pass chose, then the user's, which win."""
    noted = {name: kind for name, kind in (model.attributes.get(ATTRIBUTE) or {}).items() if name in _tensors(graph)}
    given = _overrides(config.tensor_quant_overrides or {})
    if not noted or config.quant_format != "QDQ":
        return given
    kind = _TYPES[config.activation_type]
    helper = TensorQuantOverridesHelper({name: [{"quant_type": _TYPES[noted[name]]}] for name in noted} | given)
    fixer = MixedPrecisionTensorQuantOverridesFixer.create_from_model(helper, load_proto(file), kind)
    try:
        fixer.apply(kind, config.activation_type.startswith("int"))
    except ValueError as error:
        raise PassError(
            f"the types that tensors are to have do not go together: {str(error).splitlines()[0]}",
            "Look at MixedPrecisionOverrides.",
        ) from error
    found: dict[str, Any] = helper.get_dict()
    return found


def lost_types(model: OnnxModel, seen: set[str], config: Any) -> int:
    """How many of the tensors that an earlier pass chose types for are not quantised so."""
    noted = set(model.attributes.get(ATTRIBUTE) or {})
    return len(noted - seen if config.quant_format == "QDQ" else noted)


def _tensors(graph: ir.Model) -> set[str]:
    names = {str(value.name) for value in graph.graph.inputs} | {str(name) for name in graph.graph.initializers}
    return names | {str(value.name) for node in graph.graph for value in node.outputs}


def _overrides(given: dict[str, Any]) -> dict[str, Any]:
    """Overrides with types by name, as a workflow file has to write them."""
    result = {}
    for tensor, entries in given.items():
        entries = entries if isinstance(entries, list) else [entries]
        result[tensor] = [
            {**entry, "quant_type": _type(entry["quant_type"], tensor)} if "quant_type" in entry else dict(entry)
            for entry in entries
        ]
    return result


def _type(name: str, tensor: str) -> QuantType:
    """`int8`, or onnxruntime's own name for it."""
    known = {**_TYPES, **{kind.name: kind for kind in QuantType}}
    if name not in known:
        raise PassError(
            f"tensor_quant_overrides of {tensor!r} has the quant_type {name!r}", f"Use {', '.join(_TYPES)}."
        )
    return known[name]
