"""Quality: a model's answers to the examples of a data set, and the values that follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from olive_like.data._encode import IGNORED
from olive_like.data._user import call
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics import _scores
from olive_like.metrics.catalog import AGAINST_REFERENCE, GENERATED
from olive_like.metrics.config import Metric
from olive_like.metrics.statistics import ratio
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import Batch, Examples, Texts
from olive_like.passes.measure._runtimes import Runtime, logits_of, logits_of_tokens, stop_tokens

_TOKEN_VALUES = ("loss", "perplexity", "token_accuracy")

Found = dict[str, tuple[float, float | None]]
Names = Mapping[str, Mapping[str, Any]]


def measure(metric: Metric, names: Names, examples: Examples, runtime: Runtime, context: Context) -> Found:
    """Value and spread (of one standard error, where there is one) of every name."""
    data = metric.data_config
    assert isinstance(data, DataConfig)
    if data.post_process_function or examples.kind == "own":
        return _of_answers(names, examples, runtime, data, context)
    if isinstance(examples, Texts) and examples.kind == "question_answering":
        return _of_questions(metric, names, examples, runtime, context)
    if examples.kind == "speech":
        from olive_like.passes.measure import _sounds, _speech

        assert isinstance(examples, _sounds.Sounds)
        return _speech.measure(names, examples, runtime, context)
    found: Found = {}
    generated = [name for name in names if name in GENERATED]
    if generated:
        found |= _of_texts(generated, names, examples, runtime, context)
    rest = {name: settings for name, settings in names.items() if name not in GENERATED}
    if not rest:
        return found
    if isinstance(examples, Texts) and examples.kind in ("lm", "seq2seq"):
        wrong = [name for name in rest if name not in _TOKEN_VALUES]
        if wrong:
            raise PassError(
                f"{wrong[0]} cannot be measured on examples of kind {examples.kind}",
                f"There are: {', '.join((*_TOKEN_VALUES, *GENERATED, *AGAINST_REFERENCE))}.",
            )
        return found | _of_tokens(list(rest), examples, runtime, context)
    if examples.kind in ("classification", "token_classification", "regression"):
        return found | _of_classes(rest, examples, runtime, context)
    raise PassError(f"{metric.name} cannot be measured on examples of kind {examples.kind}")


def _of_tokens(names: list[str], examples: Texts, runtime: Runtime, context: Context) -> Found:
    """Loss over all wanted tokens, each counted once, in double precision."""
    losses: list[tuple[float, int]] = []
    right: list[tuple[float, int]] = []
    for batch in examples.batches():
        all_labels = [examples.wanted(record) for record in batch.records]
        logits = logits_of_tokens(runtime.answer(batch.feeds), max(map(len, all_labels)))
        for row, labels in enumerate(all_labels):
            wanted = labels != IGNORED
            rows = logits[row, : len(labels)][wanted].astype(np.float64)
            targets = labels[wanted]
            peak = rows.max(-1, keepdims=True)
            normal = peak[:, 0] + np.log(np.exp(rows - peak).sum(-1))
            losses.append((float((normal - rows[np.arange(len(targets)), targets]).sum()), len(targets)))
            right.append((float((rows.argmax(-1) == targets).sum()), len(targets)))
        context.progress(len(losses), examples.total)
    if not any(size for _, size in losses):
        raise PassError("no example has a token to find", "Raise `max_seq_len`, or look at `data check`.")
    mean, error = ratio(losses)  # examples, not tokens, are what is independent
    values = {
        "loss": (mean, error),
        "perplexity": (math.exp(mean), math.exp(mean) * error if error is not None else None),
        "token_accuracy": ratio(right),
    }
    return {name: values[name] for name in names}


def _of_classes(names: Names, examples: Examples, runtime: Runtime, context: Context) -> Found:
    scores: list[np.ndarray] = []
    targets: list[Any] = []
    done = 0
    for batch in examples.batches():
        logits = logits_of(runtime.answer(batch.feeds))
        for row in range(len(logits)):
            if examples.kind == "token_classification":
                labels = np.array(batch.records[row]["labels"])
                scores.extend(logits[row, : len(labels)][labels != IGNORED])
                targets.extend(labels[labels != IGNORED])
            else:
                scores.append(logits[row])
                targets.append(batch.targets[row])
        done += len(logits)
        context.progress(done, examples.total)
    all_scores, all_targets = np.stack(scores), np.array(targets)
    if examples.kind == "regression":
        return {name: (_scores.regression(name, all_targets, all_scores[:, 0]), None) for name in names}
    if int(all_targets.max()) >= all_scores.shape[-1]:
        raise PassError(
            f"the data have the class {int(all_targets.max())}, the model knows {all_scores.shape[-1]} classes",
            "Say the classes in the model's order with `labels: [...]`.",
        )
    return _class_values(names, all_targets, all_scores)


def _class_values(names: Names, targets: np.ndarray, scores: np.ndarray) -> Found:
    found: Found = {}
    for name, settings in names.items():
        value = _scores.classification(name, targets, scores, settings)
        error = math.sqrt(value * (1 - value) / len(targets)) if name == "accuracy_score" else None
        found[name] = (value, error)
    return found


def answers(
    examples: Examples, runtime: Runtime, data: DataConfig, context: Context
) -> tuple[list[np.ndarray], list[Any]]:
    """Per example the model's answer, made a prediction by the user's function where there is one, and the target."""
    made: list[np.ndarray] = []
    targets: list[Any] = []
    for batch in examples.batches():
        if data.post_process_function:
            result = call(data, "post_process", runtime.raw(batch.feeds))
        else:
            result = logits_of(runtime.answer(batch.feeds))
        rows = list(_plain(result))
        if len(rows) != len(batch.targets) and batch.targets and np.asarray(batch.targets[0]).ndim == 0:
            raise PassError(
                f"there are {len(rows)} predictions for {len(batch.targets)} targets",
                "The `post_process_function` must give one prediction for each row of its batch.",
            )
        made += rows
        targets += _targets(batch)
        context.progress(len(made), examples.total or None)
    if not made:
        raise PassError("the data set has no example to measure on", "Check what its functions return.")
    return made, targets


def _of_answers(names: Names, examples: Examples, runtime: Runtime, data: DataConfig, context: Context) -> Found:
    """Values of what the user's functions make of examples and answers."""
    made, targets = answers(examples, runtime, data, context)
    if not targets or any(target is None for target in targets):
        raise PassError("the examples have no targets", "Give pairs of (inputs, target), or use a metric of your own.")
    predicted, wanted = _together(made), _together([np.asarray(target) for target in targets])
    if predicted.ndim == wanted.ndim and predicted.shape == wanted.shape:  # classes, or numbers
        predicted, wanted = predicted.reshape(-1), wanted.reshape(-1)
    elif predicted.ndim == wanted.ndim + 1 and predicted.shape[:-1] == wanted.shape:  # scores of each class
        predicted, wanted = predicted.reshape(-1, predicted.shape[-1]), wanted.reshape(-1)
    else:
        raise PassError(f"predictions of the shape {predicted.shape} do not fit targets of {wanted.shape}")
    if np.issubdtype(wanted.dtype, np.integer):
        counted = wanted != IGNORED
        predicted, wanted = predicted[counted], wanted[counted]
    numbers = {name: settings for name, settings in names.items() if name == "mse"}
    classes = {name: settings for name, settings in names.items() if name != "mse"}
    found: Found = {name: (_scores.regression(name, wanted, predicted), None) for name in numbers}
    return found | (_class_values(classes, wanted, predicted) if classes else {})


def _together(rows: list[np.ndarray]) -> np.ndarray:
    """One array of all rows; rows of different lengths one behind the other."""
    if len({np.asarray(row).shape for row in rows}) == 1:
        return np.stack([np.asarray(row) for row in rows])
    return np.concatenate([np.asarray(row).reshape(-1) for row in rows])


def _plain(result: Any) -> np.ndarray | list[Any]:
    """What a user's function gave, as numpy has it."""
    if hasattr(result, "detach"):
        return np.asarray(result.detach().float().cpu() if result.is_floating_point() else result.detach().cpu())
    if isinstance(result, (list, tuple)):
        return [np.asarray(_plain(item)) if hasattr(item, "detach") else item for item in result]
    array = np.asarray(result)
    return array if array.ndim else array.reshape(1)


def _targets(batch: Batch) -> list[Any]:
    if batch.records and batch.targets and batch.targets[0] is None and "labels" in batch.records[0]:
        # As wide as the padded batch: a prediction is there for the padding too.
        width = next(iter(batch.feeds.values())).shape[1]
        return [np.array([*r["labels"], *[IGNORED] * (width - len(r["labels"]))]) for r in batch.records]
    return batch.targets


def _of_questions(metric: Metric, names: Names, examples: Texts, runtime: Runtime, context: Context) -> Found:
    from olive_like.passes.measure import _questions

    wrong = [name for name in names if name not in _questions.VALUES]
    if wrong:
        raise PassError(f"{wrong[0]} cannot be measured on questions", f"There are: {', '.join(_questions.VALUES)}.")
    return _questions.measure(list(names), examples, runtime, context)


def _of_texts(names: list[str], settings: Names, examples: Examples, runtime: Runtime, context: Context) -> Found:
    if not isinstance(examples, Texts) or examples.kind not in ("lm", "seq2seq"):
        raise PassError(f"{names[0]} needs texts to continue", "Use chat, alpaca or prompt/completion rows.")
    new_tokens = max(int(settings[name].get("max_new_tokens", 128)) for name in names)
    stop = stop_tokens(examples.folder, examples.tokenizer)
    sources: Any = examples.sources() if examples.kind == "seq2seq" else iter(lambda: None, 0)
    wanted, made = [], []
    for done, ((prompt, text), source) in enumerate(zip(examples.prompts(), sources, strict=False), 1):
        tokens = [token for token in runtime.generate(prompt, new_tokens, stop, source) if token not in stop]
        made.append(examples.tokenizer.decode(tokens, skip_special_tokens=True))
        wanted.append(text)
        context.progress(done, examples.total)
    return {name: _scores.texts(name, wanted, made) for name in names}
