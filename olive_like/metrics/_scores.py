"""Values from predictions, by the libraries that define them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sk

from olive_like.errors import PassError
from olive_like.metrics.statistics import mean, ratio


def classification(name: str, targets: np.ndarray, scores: np.ndarray, settings: Mapping[str, Any]) -> float:
    """A value of class scores (a row per sample, a column per class), or of classes, against the true classes."""
    predicted = scores.argmax(-1) if scores.ndim > 1 else scores
    if name == "accuracy_score":
        return float(sk.accuracy_score(targets, predicted))
    if name == "auroc":
        return _auroc(targets, scores)
    two = scores.shape[-1] == 2 if scores.ndim > 1 else set(np.unique([*targets, *predicted])) <= {0, 1}
    average = settings.get("average") or ("binary" if two else "macro")
    arguments = {"average": average, "zero_division": 0}
    functions: dict[str, Callable[..., Any]] = {
        "f1_score": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score,
    }  # fmt: skip
    if name not in functions:
        raise PassError(f"{name} is not a value of a classification", f"There are: {', '.join(functions)}, auroc.")
    return float(functions[name](targets, predicted, **arguments))


def _auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    if len(np.unique(targets)) < 2:
        raise PassError("auroc needs samples of at least two classes", "Take more, or stratified, samples.")
    if scores.ndim == 1:  # of the second class
        return float(sk.roc_auc_score(targets, scores))
    shifted = np.exp(scores - scores.max(-1, keepdims=True))
    chances = shifted / shifted.sum(-1, keepdims=True)
    if scores.shape[-1] == 2:
        return float(sk.roc_auc_score(targets, chances[:, 1]))
    return float(sk.roc_auc_score(targets, chances, multi_class="ovr", labels=np.arange(scores.shape[-1])))


def regression(name: str, targets: np.ndarray, predicted: np.ndarray) -> float:
    """A value of numbers against numbers."""
    if name != "mse":
        raise PassError(f"{name} is not a value of a regression", "There is: mse.")
    return float(sk.mean_squared_error(targets, predicted))


def texts(name: str, wanted: Sequence[str], made: Sequence[str]) -> tuple[float, float | None]:
    """A value of generated texts against the wanted ones, and its standard error where it is a mean over texts."""
    if name == "exact_match":
        return mean([float(w.strip() == m.strip()) for w, m in zip(wanted, made, strict=True)])
    if name == "bleu":
        import sacrebleu

        return float(sacrebleu.corpus_bleu(list(made), [list(wanted)]).score), None
    if name in ("rouge1", "rouge2", "rougeL"):
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([name], use_stemmer=False)
        return mean([scorer.score(w, m)[name].fmeasure for w, m in zip(wanted, made, strict=True)])
    if name == "wer":
        if not any(text.split() for text in wanted):
            raise PassError("wer counts the words of the wanted texts, and they have none", "Look at `data check`.")
        words = [(w.split(), m.split()) for w, m in zip(wanted, made, strict=True)]
        return ratio([(_distance(w, m), len(w)) for w, m in words])
    raise PassError(f"{name} is not a value of generated texts", "There are: exact_match, bleu, rouge1/2/L, wer.")


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]
