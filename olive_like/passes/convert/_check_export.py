"""Is the exported graph the model: outputs on several shapes, and greedy tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from olive_like.artifacts import OnnxModel
from olive_like.passes._memory import release_memory
from olive_like.passes._onnx_runtime import Arrays, Decoder, open_session, run_session
from olive_like.passes._verify import TOLERANCE, Comparison, compare_outputs, complain, judge
from olive_like.passes.base import Context
from olive_like.passes.convert._parts import Part, reference, some_tokens

_PROMPTS = (5, 11)
_SAME = 1e-6
Loaded = tuple[Any, list[Part]]  # a model and its graphs-to-be


@dataclass
class _Answer:
    """What PyTorch gives for one set of inputs, and how far the graph is from it once it has run."""

    part: int
    inputs: dict[str, torch.Tensor]
    expected: Arrays
    got: Arrays = field(default_factory=dict)
    found: Comparison = field(default_factory=Comparison)


@dataclass
class _Text:
    """What PyTorch writes, and what it had read."""

    prompt: list[int]
    source: Arrays
    tokens: list[int]


def verify_export(
    result: OnnxModel,
    parts: list[Part],
    model: Any,
    config: Any,
    context: Context,
    again: Callable[[], Loaded] | None = None,
) -> dict[str, Any] | None:
    """Compare with PyTorch and judge; None where nothing could or should be compared.

    PyTorch answers first. With `again`, which loads the model anew, its weights are gone by the time that the runtime
    needs memory for them.
    """
    dtype = str(result.attributes["dtype"])
    if config.verify == "off":
        return None
    if dtype == "bfloat16" and context.device == "cpu":
        context.note("not compared with PyTorch: onnxruntime has no bfloat16 on CPUs")
        return None
    tolerance = config.verify_tolerance or TOLERANCE.get(dtype, 1e-4)
    answers = _answers(parts)
    whole = (len(parts) == 1 and parts[0].name == "model") or {part.name for part in parts} == {"encoder", "decoder"}
    writes = config.verify_tokens and config.dynamic and whole and "kv_cache" in result.attributes
    texts = _texts(parts, int(result.attributes["vocab_size"]), model, config.verify_tokens) if writes else []
    if again is not None:
        torch.nn.Module.to(model, "meta")  # a quantised model refuses its own `to`
        release_memory()
    for index, part in enumerate(parts):
        _run_graph(result, part, [answer for answer in answers if answer.part == index], context)
    doubtful = [answer for answer in answers if answer.found.scaled > tolerance]
    if doubtful and dtype == "float32":
        _excuse(doubtful, *(again() if again is not None else (model, parts)), context)
    comparison = Comparison()
    for answer in answers:
        comparison.merge(answer.found)
    recorded = judge(comparison, config.verify, tolerance, context)
    if writes:
        recorded["greedy_tokens"] = _compare_tokens(result, texts, dtype, config, context)
    return recorded


def _answers(parts: list[Part]) -> list[_Answer]:
    return [
        _Answer(index, inputs, as_arrays(reference(part, inputs)))
        for index, part in enumerate(parts)
        for inputs in part.samples()
    ]


def _run_graph(result: OnnxModel, part: Part, answers: list[_Answer], context: Context) -> None:
    session = open_session(result.path / part.file, threads=context.threads, device=context.device, lean=True)
    for answer in answers:
        answer.got = run_session(session, as_arrays(answer.inputs))
        answer.found = _compared(answer.expected, answer.got)


def _compared(expected: Arrays, got: Arrays) -> Comparison:
    found = Comparison()
    compare_outputs(expected, got, found)
    return found


def _excuse(answers: list[_Answer], model: Any, parts: list[Part], context: Context) -> None:
    """Judge differences by float64: some inputs, random tokens above all, make a model blow up any rounding.

    What counts then is by how much the graph is further from float64 than PyTorch's own float32 is.
    """
    repeated = [
        _compared(answer.expected, as_arrays(reference(parts[answer.part], answer.inputs))) for answer in answers
    ]
    if max(answer.scaled for answer in repeated) > _SAME:
        return  # loaded anew it is another model, with weights that are in no file
    try:
        model.double()
        for answer in answers:
            inputs = {name: _doubled(tensor) for name, tensor in answer.inputs.items()}
            exact = as_arrays(reference(parts[answer.part], inputs))
            own, graph = _compared(exact, answer.expected), _compared(exact, answer.got)
            context.note(
                f"{answer.found.worst} differs by {answer.found.max_abs_diff:.1e} from PyTorch's float32, which is "
                f"itself {own.max_abs_diff:.1e} from its float64; the graph is {graph.max_abs_diff:.1e} from it"
            )
            answer.found.scaled = max(0.0, graph.scaled - own.scaled)
    except RuntimeError:
        return  # the model insists on float32 somewhere: the difference stands
    finally:
        model.float()


def _doubled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def as_arrays(tensors: dict[str, torch.Tensor]) -> Arrays:
    """Tensors as onnxruntime takes them."""
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _texts(parts: list[Part], vocabulary: int, model: Any, count: int) -> list[_Text]:
    return [
        _Text(prompt[0].tolist(), as_arrays(source), greedy(model, prompt, count, source))
        for prompt, source in _prompts(parts, vocabulary, model)
    ]


def _compare_tokens(result: OnnxModel, texts: list[_Text], dtype: str, config: Any, context: Context) -> float:
    """The share of greedy tokens that are those of the model's own generation."""
    decoder = Decoder(result, threads=context.threads, device=context.device, lean=True)
    same = total = 0
    for text in texts:
        expected = text.tokens
        got = decoder.generate(text.prompt, len(expected), source=text.source)
        same += next((i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b), len(expected))
        total += len(expected)
    agreement = same / total if total else 1.0
    context.metric("verify.greedy_tokens", agreement)
    if agreement < 1 and dtype == "float32":
        complain(f"only {same} of {total} greedy tokens are the model's own", config.verify, context)
    return round(agreement, 3)


def _prompts(parts: list[Part], vocabulary: int, model: Any) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """What to begin with: two prompts, or one thing for the encoder to read and the token that begins an answer."""
    if len(parts) == 1:
        text = parts[0].text
        return [(some_tokens(1, length, vocabulary, seed, text), {}) for seed, length in enumerate(_PROMPTS)]
    start = getattr(model.config, "decoder_start_token_id", None) or getattr(model.config, "bos_token_id", None) or 0
    return [(torch.tensor([[start]]), parts[0].samples()[0])]


@torch.no_grad()
def greedy(
    model: Any, prompt: torch.Tensor, new_tokens: int, source: dict[str, torch.Tensor] | None = None
) -> list[int]:
    """The model's own most likely tokens, by transformers and its own cache, whatever its generation settings say."""
    given: dict[str, Any] = {}
    name = "input_ids"
    if source:
        name = "decoder_input_ids"
        given["encoder_outputs"] = model.get_encoder()(**source)
        if "attention_mask" in source:
            given["attention_mask"] = source["attention_mask"]
    tokens, past, made = prompt.to(model.device), None, []
    for _ in range(new_tokens):
        outputs = model(**{name: tokens}, **given, past_key_values=past, use_cache=True)
        past = outputs.past_key_values
        tokens = outputs.logits[:, -1].argmax(-1, keepdim=True)
        made.append(int(tokens))
    return made
