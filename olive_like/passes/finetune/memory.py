"""How much memory a training will need, told from headers and from how long the texts are."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from olive_like.artifacts import Adapter, Artifact
from olive_like.data.config import DataConfig
from olive_like.data.load import split_files
from olive_like.data.read import Located, read
from olive_like.errors import PassError
from olive_like.passes.finetune.layers import means
from olive_like.passes.finetune.settings import TrainingSettings
from olive_like.passes.tasks import read_config
from olive_like.passes.weights import TensorInfo, read_folder

_RUNTIME = 640 * 2**20  # torch, transformers and peft themselves
_CHARACTERS_PER_TOKEN = 4.0
_TOO_LARGE = 64 * 2**20  # data files beyond this are not read to tell how long their texts are
_TEMPLATE_TOKENS = 30  # what a chat template puts around an example
_LEARNT = 0.75  # part of the tokens that is answers, where prompts are not learnt


class Batch(NamedTuple):
    """What of a batch costs memory."""

    tokens: int
    learnt: int


class Lengths(NamedTuple):
    """How long the rows of a data set are, roughly."""

    tokens: list[float]  # of each row
    texts: int  # that a row becomes: a pair of answers two, each with the prompt
    learnt: float | None  # part of the tokens; None: as usual


def estimate(method: str, source: Artifact, config: TrainingSettings) -> int | None:
    """Peak bytes of the training process on a CPU; None where the model is not there to be read."""
    folder = source.base.path if isinstance(source, Adapter) else source.path
    try:
        tensors, settings = read_folder(folder), read_config(folder)
    except (PassError, OSError):
        return None
    if not tensors:
        return None
    text: dict[str, Any] = settings.get("text_config") or settings
    width = 4 if method == "full" else _width(config)
    batch = _batch(config, text)
    return int(
        _RUNTIME
        + _weights(method, tensors, width, getattr(config, "skip_modules", None) or [])
        + _trained(method, tensors, config)
        + _work(method, text, config, batch)
    )


def _width(config: TrainingSettings) -> int:
    """Bytes per number of the frozen weights and of what is computed."""
    asked = "bfloat16" if config.bf16 else config.torch_dtype
    if asked in ("float32", "fp32", "float"):
        return 4
    return 2 if asked != "auto" or _fast_bf16() else 4


@cache
def _fast_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _weights(method: str, tensors: dict[str, TensorInfo], width: int, whole: list[str]) -> float:
    total = 0.0
    four_bits = method in ("qlora", "loftq")
    for name, info in tensors.items():
        layer = len(info.shape) == 2 and "embed" not in name and "lm_head" not in name and "wte" not in name
        layer = layer and four_bits and not any(means(one, name.removesuffix(".weight")) for one in whole)
        total += info.elements * (0.5625 if layer else width)
    return total


def _trained(method: str, tensors: dict[str, TensorInfo], config: TrainingSettings) -> float:
    """Weights that are trained, in float32, with their gradients and both moments of Adam."""
    if method == "full":
        copies = 2 if _width(config) == 2 else 0  # what autocast makes of the weights for the way there and back
        return (12.0 + copies) * sum(info.elements for info in tensors.values())
    rank = int(getattr(config, "r", 0) or getattr(config, "size", 8))
    targets = getattr(config, "target_modules", None)
    names = (
        targets if isinstance(targets, list) else ["q_proj", "v_proj", "query", "value", "c_attn", "query_key_value"]
    )
    chosen = [
        info
        for name, info in tensors.items()
        if len(info.shape) == 2 and (targets == "all-linear" or any(f".{target}." in f".{name}." for target in names))
    ]
    return 16.0 * sum(rank * sum(info.shape) for info in chosen)


def _work(method: str, text: dict[str, Any], config: TrainingSettings, batch: Batch) -> float:
    """What is kept for the way back, and the logits."""
    hidden = text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 768
    inner = text.get("intermediate_size") or text.get("n_inner") or text.get("d_ff") or 4 * hidden
    layers = text.get("num_hidden_layers") or text.get("n_layer") or text.get("num_layers") or 12
    width = _width(config)
    # Two norms in float32, the projections and the residuals; the gate, its activation and their product.
    layer = (16 + 11 * width) * hidden + 4 * width * inner
    if method == "dora" or getattr(config, "use_dora", False):
        layer += 4 * width * hidden
    kept = layers * width * hidden + layer if config.gradient_checkpointing else layers * layer
    vocabulary = text.get("vocab_size") or 0
    generates = not any(word in str(text.get("architectures")) for word in ("Bert", "Classification"))
    logits = batch.learnt * vocabulary * (width + 12) if generates else 0
    return float(batch.tokens * kept + logits)


def _batch(config: TrainingSettings, text: dict[str, Any]) -> Batch:
    """The largest batch that is to be expected."""
    data = config.train_data_config
    size = config.per_device_train_batch_size
    positions = text.get("max_position_embeddings") or text.get("n_positions") or 1 << 30
    if not isinstance(data, DataConfig):
        return Batch(size * min(1024, positions), int(size * min(1024, positions) * _LEARNT))
    limit = min(data.max_seq_len, positions)
    lengths = _lengths(data)
    learnt = 1.0 if data.train_on_prompt else _LEARNT
    if lengths is not None:
        limit *= lengths.texts
        learnt = learnt if lengths.learnt is None else lengths.learnt
    if not lengths or ((data.packing or data.strategy == "join") and lengths.texts == 1):
        tokens = size * limit if not lengths else min(size * limit, int(sum(lengths.tokens)))
    else:
        cut = [min(length, limit) for length in lengths.tokens]
        mean = sum(cut) / len(cut)
        spread = math.sqrt(sum((length - mean) ** 2 for length in cut) / len(cut))
        # The largest of n sums of random lengths lies about sqrt(2 ln n) - 0.6 deviations above their mean.
        drawn = max(2.0, config.max_steps if config.max_steps > 0 else config.num_train_epochs * len(cut) / size)
        high = size * mean + (math.sqrt(2 * math.log(drawn)) - 0.6) * spread * math.sqrt(size)
        tokens = int(min(high, sum(sorted(cut)[-size:])))
    return Batch(tokens, int(tokens * learnt))


def _lengths(data: DataConfig) -> Lengths | None:
    """None where rows cannot be looked at."""
    rows = data.rows
    if rows is None:
        if data.source is None or not Path(data.source).exists():
            return None
        rows = _rows(data.source, data.format, Path(data.source).stat().st_mtime_ns)
    if not rows:
        return None
    rows = rows[: data.max_samples]
    if {"chosen", "rejected"} <= set(rows[0]):
        return _pairs(rows)
    alone = set(rows[0]) == {"text"}
    around = 0 if alone else _TEMPLATE_TOKENS
    return Lengths([_characters(row) / _CHARACTERS_PER_TOKEN + around for row in rows], 1, 1.0 if alone else None)


def _pairs(rows: list[dict[str, Any]]) -> Lengths:
    """Two texts of every row, in both of them the prompt, of which nothing is learnt."""
    answers = [_characters([row.get("chosen"), row.get("rejected")]) for row in rows]
    prompts = [2 * (_characters(row) - both) for row, both in zip(rows, answers, strict=True)]
    tokens = [(a + p) / _CHARACTERS_PER_TOKEN + 2 * _TEMPLATE_TOKENS for a, p in zip(answers, prompts, strict=True)]
    return Lengths(tokens, 2, sum(answers) / max(1, sum(answers) + sum(prompts)))


@cache
def _rows(source: str, said: str | None, _: int) -> list[dict[str, Any]] | None:
    try:
        files = split_files(Path(source), said).get("train", [])
        if sum(file.stat().st_size for file in files) > _TOO_LARGE:
            return None
        return [item.row for file in files for item in read(file, said) if isinstance(item, Located)]
    except (PassError, OSError):
        return None


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_characters(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_characters(item) for item in value)
    return 4
