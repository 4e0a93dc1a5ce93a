"""Every architecture that OnnxConversion is held to: exported, and compared with transformers itself.

The comparison here does not use the pass's own: the reference is the model without a cache, run over the whole
sequence, so that a wrong cache, mask or window shows.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import tiny_models
from tests.convert.helpers import convert

DECODERS = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2", "opt", "mistral")
ENCODERS = ("bert", "distilbert", "roberta", "minilm", "vit")
PAIRS = ("t5", "whisper")
NAMES = {
    "llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "phi3": "Phi-3", "gemma2": "Gemma 2", "gemma3": "Gemma 3",
    "gpt2": "GPT-2", "opt": "OPT", "mistral": "Mistral", "bert": "BERT", "distilbert": "DistilBERT",
    "roberta": "RoBERTa", "minilm": "MiniLM (embeddings)", "vit": "ViT", "t5": "T5", "whisper": "Whisper",
    "smollm2": "SmolLM2-135M (real)", "minilm-real": "all-MiniLM-L6-v2 (real)",
}  # fmt: skip
BATCHES, PASTS, NEW_TOKENS = (1, 3), (0, 1, 100), 32


@dataclass
class Row:
    """What was measured for one architecture."""

    name: str
    exporter: str
    seconds: float
    nodes: int
    difference: float  # largest of all outputs
    cases: str
    tokens: str  # greedy ones that are the model's own

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def tiny(name: str, folder: Path) -> Any:
    if name == "minilm":
        return tiny_models.tiny_bert(folder, labels=None)
    return getattr(tiny_models, f"tiny_{name}")(folder)


def measure(name: str, model: Any, output: Path) -> Row:
    """Export one model and compare it."""
    start = time.perf_counter()
    result = convert(model, output, verify="off")
    seconds = time.perf_counter() - start
    compare = _decoder if "kv_cache" in result.attributes and "components" not in result.attributes else _other
    difference, cases, tokens = compare(result, model)
    from olive_like.passes._onnx_files import components, load_proto

    graphs = [load_proto(path) for path in components(result).values()]
    nodes = sum(len(graph.graph.node) for graph in graphs)
    exporter = (
        "torch.export" if name not in ("bert", "distilbert", "roberta", "minilm", "minilm-real") else "TorchScript"
    )
    return Row(NAMES.get(name, name), exporter, round(seconds, 1), nodes, difference, cases, tokens)


def _load(model: Any) -> Any:
    from olive_like.passes._models import load_model

    return load_model(model, None, "float32")


def _decoder(result: Any, source: Any) -> tuple[float, str, str]:
    """Logits of the last tokens after a past, against the whole sequence in one go; then greedy tokens."""
    import numpy as np
    import torch

    from olive_like.passes._onnx_runtime import Decoder, Shape, cache_inputs, make_feeds, open_session, run_session
    from olive_like.passes.convert._parts import some_tokens, text_ids

    model, text = _load(source), text_ids(source)
    session = open_session(result.file)
    io, worst = result.attributes["io"], 0.0
    vocabulary = result.attributes["vocab_size"]
    for batch in BATCHES:
        for past in PASTS:
            # Ordinary text where there is a real tokenizer: random tokens make a trained model blow up any rounding.
            tokens = some_tokens(batch, past + 4, vocabulary, past, text).numpy()
            mask = np.ones_like(tokens)
            if past and batch > 1:
                mask[0, : max(1, past // 10)] = 0  # left padding
            with torch.no_grad():
                expected = model(
                    input_ids=torch.tensor(tokens),
                    attention_mask=torch.tensor(mask),
                    position_ids=torch.arange(past + 4).repeat(batch, 1),
                ).logits[:, past:]
            cache = None
            if past:
                first = make_feeds(io, Shape(batch, past, 0))
                first |= {"input_ids": tokens[:, :past], "attention_mask": mask[:, :past]}
                cache = cache_inputs(run_session(session, first))
            feeds = make_feeds(io, Shape(batch, 4, past), past=cache)
            feeds |= {"input_ids": tokens[:, past:], "attention_mask": mask}
            got = run_session(session, feeds)["logits"]
            worst = max(worst, float(np.abs(expected.numpy() - got).max()))
    prompt = some_tokens(1, 9, vocabulary, 7, text)[0].tolist()
    made = Decoder(result).generate(prompt, NEW_TOKENS)
    wanted = _generate(model, torch.tensor([prompt]))
    same = next((i for i, (a, b) in enumerate(zip(wanted, made, strict=True)) if a != b), len(wanted))
    return worst, "batch 1, 3; past 0, 1, 100; left padding", f"{same} of {len(wanted)}"


def _generate(model: Any, prompt: Any, **inputs: Any) -> list[int]:
    """Greedy tokens by transformers' `generate`, which must not stop early."""
    import torch

    with torch.no_grad():
        made = model.generate(
            prompt, **inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1
        )
    return made[0, -NEW_TOKENS:].tolist()


def _other(result: Any, source: Any) -> tuple[float, str, str]:
    return _pair(result, source) if "components" in result.attributes else _encoder(result, source)


def _encoder(result: Any, source: Any) -> tuple[float, str, str]:
    import numpy as np
    import torch

    from olive_like.passes._onnx_runtime import Shape, make_feeds, open_session, run_session

    model, session, worst = _load(source), open_session(result.file), 0.0
    for batch, length in ((1, 7), (3, 12), (3, 1)):
        feeds = make_feeds(result.attributes["io"], Shape(batch, length), vocabulary=100)
        if batch > 1 and length > 1 and "attention_mask" in feeds:
            feeds["attention_mask"][0, -3:] = 0
        with torch.no_grad():
            expected = model(**{name: torch.tensor(value) for name, value in feeds.items()})
        for name, value in run_session(session, feeds).items():
            worst = max(worst, float(np.abs(expected[name].numpy() - value).max()))
    return worst, "batch 1, 3; several lengths; right padding", "-"


def _pair(result: Any, source: Any) -> tuple[float, str, str]:
    """The whole answer forced at once against encoder, prefill and one more step; then greedy tokens."""
    import numpy as np
    import torch

    from olive_like.passes._onnx_files import components
    from olive_like.passes._onnx_runtime import Decoder, Shape, cache_inputs, make_feeds, open_session, run_session

    model = _load(source)
    encoder, decoder = (open_session(path) for path in components(result).values())
    io, vocabulary, worst = result.attributes["io"], result.attributes["vocab_size"], 0.0
    for batch in BATCHES:
        given = make_feeds(io["encoder"], Shape(batch, 9), vocabulary=vocabulary)
        if batch > 1 and "attention_mask" in given:
            given["attention_mask"][0, -2:] = 0
        cross = cache_inputs(run_session(encoder, given))
        for past in PASTS:
            tokens = np.random.default_rng(past).integers(3, vocabulary, (batch, past + 4))
            torched = {name: torch.tensor(value) for name, value in given.items()}
            with torch.no_grad():
                expected = model(**torched, decoder_input_ids=torch.tensor(tokens)).logits[:, past:]
            feeds = make_feeds(io["decoder"], Shape(batch, past, 0), past=cross) if past else {}
            fixed = {
                **cross,
                **({"encoder_attention_mask": given["attention_mask"]} if "attention_mask" in given else {}),
            }
            if past:
                feeds |= fixed | {"input_ids": tokens[:, :past]}
                fixed |= cache_inputs(run_session(decoder, feeds))
            feeds = make_feeds(io["decoder"], Shape(batch, 4, past), past=fixed)
            feeds |= fixed | {"input_ids": tokens[:, past:]}
            got = run_session(decoder, feeds)["logits"]
            worst = max(worst, float(np.abs(expected.numpy() - got).max()))
    given = make_feeds(io["encoder"], Shape(1, 9), vocabulary=vocabulary)
    start = model.config.decoder_start_token_id
    made = Decoder(result).generate([start], NEW_TOKENS, source=given)
    wanted = _steps(model, given, start)
    same = next((i for i, (a, b) in enumerate(zip(wanted, made, strict=True)) if a != b), len(wanted))
    return worst, "batch 1, 3; past 0, 1, 100; right padding", f"{same} of {len(wanted)}"


def _steps(model: Any, given: Any, start: int) -> list[int]:
    """Greedy tokens without a cache: `generate` knows too much about what Whisper should say first."""
    import torch

    tokens = [start]
    torched = {name: torch.tensor(value) for name, value in given.items()}
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            logits = model(**torched, decoder_input_ids=torch.tensor([tokens])).logits
            tokens.append(int(logits[0, -1].argmax()))
    return tokens[1:]
