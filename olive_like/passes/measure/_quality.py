"""Quality: a model's answers to the examples of a data set, and the values that follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from olive_like.data._encode import IGNORED
from olive_like.errors import PassError
from olive_like.metrics import _scores
from olive_like.metrics.config import Metric
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import Examples
from olive_like.passes.measure._runtimes import Runtime, stop_tokens

_GENERATED = ("bleu", "rouge1", "rouge2", "rougeL", "exact_match", "wer")
_TOKEN_VALUES = ("loss", "perplexity", "token_accuracy")


def measure(metric: Metric, names: Mapping[str, Mapping[str, Any]], examples: Examples, runtime: Runtime,
            context: Context) -> dict[str, tuple[float, float | None]]:  # fmt: skip
    """Value and spread (of one standard error, where there is one) of every name."""
    kind = examples.encoded.kind
    found: dict[str, tuple[float, float | None]] = {}
    generated = [name for name in names if name in _GENERATED]
    if generated:
        found |= _of_texts(generated, names, examples, runtime, context)
    rest = {name: settings for name, settings in names.items() if name not in _GENERATED}
    if not rest:
        return found
    if kind in ("lm", "seq2seq"):
        wrong = [name for name in rest if name not in _TOKEN_VALUES]
        if wrong:
            raise PassError(
                f"{wrong[0]} cannot be measured on examples of kind {kind}",
                f"There are: {', '.join((*_TOKEN_VALUES, *_GENERATED))}.",
            )
        return found | _of_tokens(list(rest), examples, runtime, context)
    if kind in ("classification", "token_classification", "regression"):
        return found | _of_classes(rest, examples, runtime, context)
    raise PassError(f"{metric.name} cannot be measured on examples of kind {kind}")


def _of_tokens(
    names: list[str], examples: Examples, runtime: Runtime, context: Context
) -> dict[str, tuple[float, float | None]]:
    """Loss over all wanted tokens, each counted once, in double precision."""
    total, right, count = 0.0, 0, 0
    per_example: list[tuple[float, int]] = []
    done = 0
    for batch, records in examples.batches():
        logits = runtime.logits(batch)
        for row, record in enumerate(records):
            labels = np.array(record["labels"][1:])
            wanted = labels != IGNORED
            rows = logits[row, : len(labels)][wanted].astype(np.float64)
            targets = labels[wanted]
            peak = rows.max(-1, keepdims=True)
            normal = peak[:, 0] + np.log(np.exp(rows - peak).sum(-1))
            loss = float((normal - rows[np.arange(len(targets)), targets]).sum())
            total += loss
            right += int((rows.argmax(-1) == targets).sum())
            count += len(targets)
            per_example.append((loss, len(targets)))
        done += len(records)
        context.progress(done, len(examples.encoded.records))
    mean = total / count
    # Standard error of a ratio of sums: examples, not tokens, are what is independent.
    residual = sum((loss - mean * size) ** 2 for loss, size in per_example)
    error = math.sqrt(residual) / count if len(per_example) > 1 else None
    values = {
        "loss": (mean, error),
        "perplexity": (math.exp(mean), math.exp(mean) * error if error is not None else None),
        "token_accuracy": (right / count, math.sqrt(right / count * (1 - right / count) / count)),
    }
    return {name: values[name] for name in names}


def _of_classes(
    names: Mapping[str, Mapping[str, Any]], examples: Examples, runtime: Runtime, context: Context
) -> dict[str, tuple[float, float | None]]:
    scores, targets = [], []
    tokens = examples.encoded.kind == "token_classification"
    done = 0
    for batch, records in examples.batches():
        logits = runtime.logits(batch)
        for row, record in enumerate(records):
            if tokens:
                labels = np.array(record["labels"])
                scores.extend(logits[row, : len(labels)][labels != IGNORED])
                targets.extend(labels[labels != IGNORED])
            else:
                scores.append(logits[row])
                targets.append(record["label"])
        done += len(records)
        context.progress(done, len(examples.encoded.records))
    all_scores, all_targets = np.stack(scores), np.array(targets)
    if examples.encoded.kind == "regression":
        return {name: (_scores.regression(name, all_targets, all_scores[:, 0]), None) for name in names}
    if int(all_targets.max()) >= all_scores.shape[-1]:
        raise PassError(
            f"the data have the class {int(all_targets.max())}, the model knows {all_scores.shape[-1]} classes",
            "Say the classes in the model's order with `labels: [...]`.",
        )
    found: dict[str, tuple[float, float | None]] = {}
    for name, settings in names.items():
        value = _scores.classification(name, all_targets, all_scores, settings)
        error = math.sqrt(value * (1 - value) / len(all_targets)) if name == "accuracy_score" else None
        found[name] = (value, error)
    return found


def _of_texts(
    names: list[str],
    settings: Mapping[str, Mapping[str, Any]],
    examples: Examples,
    runtime: Runtime,
    context: Context,
) -> dict[str, tuple[float, float | None]]:
    new_tokens = max(int(settings[name].get("max_new_tokens", 128)) for name in names)
    stop = stop_tokens(examples.folder, examples.tokenizer)
    wanted, made = [], []
    total = len(examples.encoded.records)
    for done, (prompt, text) in enumerate(examples.prompts(), 1):
        tokens = [token for token in runtime.generate(prompt, new_tokens, stop) if token not in stop]
        made.append(examples.tokenizer.decode(tokens, skip_special_tokens=True))
        wanted.append(text)
        context.progress(done, total)
    return {name: (_scores.texts(name, wanted, made), None) for name in names}
