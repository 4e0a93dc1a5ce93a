"""Questions whose answer is a piece of a text: exact match and F1, as SQuAD defines them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from olive_like.data.examples import Question
from olive_like.errors import PassError
from olive_like.metrics.statistics import mean
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import Texts
from olive_like.passes.measure._runtimes import Arrays, Runtime

VALUES = ("exact_match", "f1_score")
_LONGEST = 30  # tokens of an answer


def measure(
    names: Sequence[str], examples: Texts, runtime: Runtime, context: Context
) -> dict[str, tuple[float, float | None]]:
    """The chosen values over all questions."""
    questions = [example for example in examples.read if isinstance(example, Question)]
    found: dict[str, list[float]] = {"exact_match": [], "f1_score": []}
    for number, question in enumerate(questions, 1):
        said = answer(question, examples, runtime)
        wanted = question.answer if question.start >= 0 else ""
        found["exact_match"].append(float(normal(said) == normal(wanted)))
        found["f1_score"].append(f1(said, wanted))
        context.progress(number, len(questions))
    return {name: mean(found[name]) for name in names}


def answer(question: Question, examples: Texts, runtime: Runtime) -> str:
    """The piece of the context that the model scores highest, over all windows; "" for no answer."""
    limit = examples.limit
    encoded: Any = examples.tokenizer(
        question.question, question.context, truncation="only_second", max_length=limit, stride=min(64, limit // 4),
        return_overflowing_tokens=True, return_offsets_mapping=True, verbose=False,
    )  # fmt: skip
    best, text = -np.inf, ""
    for window, ids in enumerate(encoded["input_ids"]):
        batch: Arrays = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        if "token_type_ids" in encoded:
            batch["token_type_ids"] = np.array([encoded["token_type_ids"][window]])
        start, end = _scores(runtime.answer(batch))
        inside = np.array([side == 1 for side in encoded.sequence_ids(window)])
        offsets = encoded["offset_mapping"][window]
        first, last, score = _span(start, end, inside)
        if start[0] + end[0] > max(best, score):  # the first token stands for "no answer"
            best, text = float(start[0] + end[0]), ""
        elif score > best:
            best, text = score, question.context[offsets[first][0] : offsets[last][1]]
    return text


def _scores(outputs: Arrays) -> tuple[np.ndarray, np.ndarray]:
    if "start_logits" in outputs and "end_logits" in outputs:
        return outputs["start_logits"][0].astype(np.float64), outputs["end_logits"][0].astype(np.float64)
    if len(outputs) >= 2:
        first, second = list(outputs.values())[:2]
        return first[0].astype(np.float64), second[0].astype(np.float64)
    raise PassError("the model gives no scores for where an answer begins and ends", "Load it for question-answering.")


def _span(start: np.ndarray, end: np.ndarray, inside: np.ndarray) -> tuple[int, int, float]:
    """The best begin and end in the context, the end not before the begin and not too far behind it."""
    scores = start[:, None] + end[None, :]
    length = np.arange(len(start))[None, :] - np.arange(len(start))[:, None]
    allowed = inside[:, None] & inside[None, :] & (length >= 0) & (length < _LONGEST)
    scores = np.where(allowed, scores, -np.inf)
    place = int(scores.argmax())
    return place // len(start), place % len(start), float(scores.max())


def normal(text: str) -> str:
    """Lower case, no punctuation, no articles, single blanks."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(said: str, wanted: str) -> float:
    """The harmonic mean of how many words of either are in the other."""
    ours, theirs = normal(said).split(), normal(wanted).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))
