"""Which passes make a model fit for a device: a table of rules, read from the top, the first that fits wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from olive_like.errors import WorkflowError

Step = tuple[str, str, dict[str, Any]]  # name, pass type, settings

EIGHT_BITS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
FOUR_BITS = ("int4", "uint4", "nf4", "fp4")
FLOATS = ("fp32", "fp16", "bf16")
_NEAREST = {
    **dict.fromkeys(("int16", "uint16", "int32", "uint32"), "int8"),
    **dict.fromkeys(("nf4", "fp4", "uint4"), "int4"),
    "bf16": "fp16",
}


@dataclass(frozen=True)
class Wish:
    """What is to be optimised, and for what."""

    family: str  # language, text, vision, seq2seq, onnx, other: see `family_of`
    device: str = "cpu"
    precision: str = "fp32"
    exporter: str | None = None  # model_builder, dynamo_exporter, torchscript_exporter
    adapter: bool = False
    data: str | None = None  # name of a data set to calibrate with
    block_size: int | None = None
    qdq: bool = False
    fixed: Mapping[str, int] = field(default_factory=dict)  # axis -> size
    surgeries: Sequence[str] = ()
    act_precision: str | None = None


class Rule(NamedTuple):
    """When it holds, what it does, and why."""

    why: str
    family: tuple[str, ...]
    precision: tuple[str, ...]
    device: tuple[str, ...]
    exporter: tuple[str | None, ...]
    steps: tuple[str, ...]  # names of STEPS

    def fits(self, wish: Wish) -> bool:
        return (
            wish.family in self.family
            and wish.precision in self.precision
            and wish.device in self.device
            and (wish.exporter in self.exporter)
        )


_ANY = ("cpu", "gpu", "npu")
_BUILDER = ("model_builder",)
_EXPORT: tuple[str | None, ...] = (None, "dynamo_exporter", "torchscript_exporter")

RULES: tuple[Rule, ...] = (
    Rule("the builder writes the precision itself", ("language",), ("fp32", "fp16", "bf16", "int8", "int4"), _ANY,
         _BUILDER, ("builder",)),
    Rule("language models: full precision, fused", ("language",), ("fp32",), _ANY, _EXPORT, ("export", "fuse")),
    Rule("GPUs compute float16 natively", ("language",), ("fp16",), ("gpu", "npu"), _EXPORT, ("export fp16", "fuse")),
    Rule("the CPU provider lacks bfloat16: float16 weights with float32 at the ends", ("language",), ("fp16", "bf16"),
         ("cpu",), _EXPORT, ("export", "fuse", "float16")),
    Rule("bfloat16 as exported", ("language",), ("bf16",), ("gpu", "npu"), _EXPORT, ("export bf16", "fuse")),
    Rule("weights alone in 8 bits keep a language model's answers", ("language",), EIGHT_BITS, _ANY, _EXPORT,
         ("export", "fuse", "weights 8")),
    Rule("k-quant: the best 4 bits that need no data", ("language",), FOUR_BITS, _ANY, _EXPORT,
         ("export", "fuse", "weights 4")),
    Rule("text and image encoders: attention fused", ("text", "vision", "other", "seq2seq"), ("fp32",), _ANY, _EXPORT,
         ("export", "fuse attention")),
    Rule("float16, inputs and outputs as they were", ("text", "vision", "other", "seq2seq"), ("fp16", "bf16"), _ANY,
         _EXPORT, ("export", "fuse attention", "float16")),
    Rule("weights and activations in 8 bits", ("text", "vision", "other", "seq2seq"), EIGHT_BITS, _ANY, _EXPORT,
         ("export", "fuse attention", "integers")),
    Rule("weights in 4 bits", ("text", "vision", "other", "seq2seq"), FOUR_BITS, _ANY, _EXPORT,
         ("export", "fuse attention", "blocks 4")),
    Rule("an ONNX model: tidy up", ("onnx",), ("fp32",), _ANY, _EXPORT, ("peephole",)),
    Rule("an ONNX model to float16", ("onnx",), ("fp16", "bf16"), _ANY, _EXPORT, ("peephole", "float16")),
    Rule("an ONNX model to 8 bits", ("onnx",), EIGHT_BITS, _ANY, _EXPORT, ("peephole", "integers")),
    Rule("an ONNX model's weights to 4 bits", ("onnx",), FOUR_BITS, _ANY, _EXPORT, ("peephole", "blocks 4")),
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """The chosen passes and the rule that chose them."""

    why: str
    passes: dict[str, dict[str, Any]]


def choose(wish: Wish) -> Choice:
    """The passes for a wish, in order."""
    rule = next((rule for rule in RULES if rule.fits(wish)), None)
    if rule is None:
        raise WorkflowError(
            f"there is no rule for a {wish.family} model in {wish.precision} on {wish.device}"
            + (f" with {wish.exporter}" if wish.exporter else ""),
            f"Precisions: {', '.join((*FLOATS, *EIGHT_BITS, *FOUR_BITS))}."
            + (" The model builder makes fp32, fp16, bf16, int8 and int4 of language models." if wish.exporter else ""),
        )
    steps: list[Step] = [("merge", "MergeAdapterWeights", {})] if wish.adapter else []
    for name in rule.steps:
        steps += _step(name, wish)
    if wish.surgeries:
        steps.append(("surgery", "GraphSurgeries", {"surgeries": [{"surgeon": name} for name in wish.surgeries]}))
    if wish.fixed:
        names, sizes = list(wish.fixed), list(wish.fixed.values())
        steps.append(("fixed_shape", "DynamicToFixedShape", {"dim_param": names, "dim_value": sizes}))
    return Choice(rule.why + _instead(wish, rule), {name: {"type": kind, **settings} for name, kind, settings in steps})


def _instead(wish: Wish, rule: Rule) -> str:
    """What is made in place of a precision that is not: nobody should have to find that out."""
    near = _NEAREST.get(wish.precision)
    if near is None or (wish.precision == "bf16" and "float16" not in rule.steps):
        return ""
    return f"; {wish.precision} is not made here, {near} is"


def _step(name: str, wish: Wish) -> list[Step]:
    """One named step of a rule, with the wish's details."""
    block = {"block_size": wish.block_size} if wish.block_size else {}
    exporter = {"dynamo_exporter": True, "torchscript_exporter": False}.get(wish.exporter or "")
    export: dict[str, Any] = {} if exporter is None else {"use_dynamo_exporter": exporter}
    match name:
        case "builder":
            settings: dict[str, Any] = {"precision": wish.precision}
            if wish.precision == "int4":
                settings |= {"int4_accuracy_level": 4} | ({"int4_block_size": wish.block_size} if block else {})
            return [("build", "ModelBuilder", settings)]
        case "export":
            return [("export", "OnnxConversion", export)]
        case "export fp16":
            return [("export", "OnnxConversion", {**export, "torch_dtype": "float16"})]
        case "export bf16":
            return [("export", "OnnxConversion", {**export, "torch_dtype": "bfloat16"})]
        case "fuse":
            attention = {"positions": "counted"} if wish.device == "cpu" else {"use_gqa": False}
            return [("fuse", "OnnxScriptFusion", attention)]
        case "fuse attention":
            return [("fuse", "OrtTransformersOptimization", {"use_gpu": True} if wish.device == "gpu" else {})]
        case "peephole":
            return [("tidy", "OnnxPeepholeOptimizer", {})]
        case "float16":
            return [("half", "OnnxFloatToFloat16", {"keep_io_types": True})]
        case "weights 8":
            return [("quantize", "OnnxBlockWiseRtnQuantization", {"bits": 8, **block}), *_qdq(wish)]
        case "weights 4":
            return [("quantize", "OnnxKQuantQuantization", {"bits": 4, **block}), *_qdq(wish)]
        case "blocks 4":
            return [("quantize", "OnnxBlockWiseRtnQuantization", {"bits": 4, **block}), *_qdq(wish)]
        case "integers":
            return [_integers(wish)]
        case _:
            raise LookupError(name)


def _qdq(wish: Wish) -> list[Step]:
    return [("qdq", "MatMulNBitsToQDQ", {})] if wish.qdq else []


def _integers(wish: Wish) -> Step:
    """Static with data, as activations' ranges must be seen; dynamic without."""
    precision = wish.precision if wish.precision in ("int8", "uint8") else "int8"
    if wish.data is None:
        return ("quantize", "OnnxDynamicQuantization", {"precision": precision})
    settings: dict[str, Any] = {"precision": precision, "data_config": wish.data}
    if wish.act_precision:
        settings["activation_type"] = wish.act_precision
    settings["quant_format"] = "QDQ" if wish.qdq or wish.device != "cpu" else "QOperator"
    return ("quantize", "OnnxStaticQuantization", settings)


# Bytes of a parameter, scales and what is not quantised included.
_WEIGHT = {"fp32": 4.0, "fp16": 2.0, "int8": 1.15, "int4": 0.65}
_ROOM = 1.25  # what answering takes besides the weights


def precision_for(memory: int, parameters: int) -> str:
    """The finest precision whose weights fit into so much memory, with room to work."""
    for precision, size in _WEIGHT.items():
        if parameters * size * _ROOM <= memory:
            return precision
    least = parameters * _WEIGHT["int4"] * _ROOM
    raise WorkflowError(
        f"{parameters / 1e9:.2f} billion parameters do not fit into {memory / 2**30:.2f} GiB in any precision",
        f"4 bits take about {least / 2**30:.2f} GiB: give it more memory, or take a smaller model.",
    )


_FAMILIES = {
    "text-generation": "language",
    "text-classification": "text",
    "token-classification": "text",
    "question-answering": "text",
    "feature-extraction": "text",
    "fill-mask": "text",
    "image-classification": "vision",
    "text2text-generation": "seq2seq",
    "automatic-speech-recognition": "seq2seq",
}


def family_of(task: str) -> str:
    """The family that rules know a task by."""
    return _FAMILIES.get(task, "other")
