"""How far a model's answers are from another model's: agreement of the likeliest, and divergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from olive_like.data._encode import IGNORED
from olive_like.errors import PassError
from olive_like.metrics.statistics import ratio
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import Batch, Examples, Texts
from olive_like.passes.measure._runtimes import Runtime, logits_of_tokens


def measure(
    names: Sequence[str], examples: Examples, runtime: Runtime, reference: Runtime, context: Context
) -> dict[str, tuple[float, float | None]]:
    """`token_agreement`: how often both find the same most likely; `kl`: mean divergence from the reference."""
    agreed: list[tuple[float, float]] = []
    divergence: list[tuple[float, float]] = []
    done = 0
    for batch in examples.batches():
        longest = max((len(labels) for labels in _labels(examples, batch)), default=0)
        ours, theirs = (logits_of_tokens(each.answer(batch.feeds), longest) for each in (runtime, reference))
        if ours.shape != theirs.shape:
            raise PassError(
                f"the model gives {ours.shape[-1]} scores where the reference gives {theirs.shape[-1]}",
                "Both must have the same vocabulary or classes.",
            )
        for mine, other in zip(_places(examples, batch, ours), _places(examples, batch, theirs), strict=True):
            agreed.append((float((mine.argmax(-1) == other.argmax(-1)).sum()), len(mine)))
            divergence.append((float(_kl(other, mine).sum()), len(mine)))
        done += len(ours)
        context.progress(done, examples.total or None)
    values = {"token_agreement": ratio(agreed), "kl": ratio(divergence)}
    return {name: values[name] for name in names}


def _labels(examples: Examples, batch: Batch) -> list[np.ndarray]:
    """Of texts, what each example's tokens should be; of anything else nothing."""
    if isinstance(examples, Texts) and examples.kind in ("lm", "seq2seq"):
        return [examples.wanted(record) for record in batch.records]
    return []


def _places(examples: Examples, batch: Batch, logits: np.ndarray) -> list[np.ndarray]:
    """Per example the scores at the places that count: of texts those of the wanted tokens, else all."""
    logits = logits.astype(np.float64)
    if wanted := _labels(examples, batch):
        return [logits[row, : len(labels)][labels != IGNORED] for row, labels in enumerate(wanted)]
    return [row.reshape(-1, row.shape[-1]) for row in logits]


def _kl(true: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each row's distribution."""
    p, q = _log_chances(true), _log_chances(other)
    return (np.exp(p) * (p - q)).sum(-1)


def _log_chances(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
