"""What a data set is like before it is trained on: errors by line, repeats, leaks, balance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.examples import Chat, Example, Labelled, Message, Pair, Preference, Question, Tagged
from olive_like.data.read import BadLine, Located, read
from olive_like.data.shapes import Recognised, reader, recognise

_RARE = 0.1  # a class with less than this part of the commonest is worth a word


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where."""

    file: str
    line: int
    message: str
    serious: bool = True


@dataclass
class Report:
    """All that was found."""

    shape: str = ""
    said: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    duplicates: int = 0
    leaks: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)  # split -> class -> rows
    notes: list[str] = field(default_factory=list)
    tokens: dict[str, Any] | None = None

    @property
    def errors(self) -> int:
        return sum(problem.serious for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"errors": self.errors}


def check(files: Mapping[str, Sequence[Path]], config: DataConfig) -> tuple[Report, dict[str, list[Example]]]:
    """Look at every row of every split; the good ones come back as examples."""
    report = Report()
    located: dict[str, list[Located]] = {}
    for split, paths in files.items():
        located[split] = []
        for path in paths:
            try:
                items = list(read(path, config.format))
            except DataError as error:
                if sum(len(some) for some in files.values()) == 1:
                    raise
                report.problems.append(Problem(path.name, 1, error.message))
                continue
            for item in items:
                if isinstance(item, BadLine):
                    report.problems.append(Problem(item.file, item.line, item.problem))
                else:
                    located[split].append(item)
        report.rows[split] = len(located[split])
    every = [item.row for items in located.values() for item in items]
    if not every:
        names = ", ".join(path.name for paths in files.values() for path in paths)
        if not report.problems:
            raise DataError(f"{names} has no rows", "A data file has at least one row.")
        first = [f"line {p.line}: {p.message}" for p in report.problems[:3]]
        raise DataError(f"no row of {names} can be read; {'; '.join(first)}")
    known = recognise(config, list(dict.fromkeys(name for row in every[:1000] for name in row)))
    report.shape, report.said = known.shape, known.said
    examples = {split: _examples(items, config, known, report) for split, items in located.items()}
    _repeats(located, report)
    _balance(examples, report)
    return report, examples


def _examples(items: Sequence[Located], config: DataConfig, known: Recognised, report: Report) -> list[Example]:
    make = reader(config, known)
    found: list[Example] = []
    for row, file, line in items:
        try:
            example = make(row)
        except KeyError as error:
            report.problems.append(Problem(file, line, f"the column {error.args[0]!r} is missing"))
            continue
        except DataError as error:
            report.problems.append(Problem(file, line, error.message))
            continue
        wrong = lacking(example)
        if wrong:
            report.problems.append(Problem(file, line, wrong))
        else:
            found.append(example)
    return found


def lacking(example: Example) -> str:
    """What of an example has nothing in it."""
    if isinstance(example, Chat) and not any(message["role"] == "assistant" for message in example.messages):
        return "no message of the assistant: there is nothing to learn"
    if isinstance(example, Chat) and not all(_says(message) for message in example.messages[-1:]):
        return "the text to learn is empty"
    if isinstance(example, Pair) and not example.completion.strip():
        return "the text to learn is empty"
    if isinstance(example, Labelled) and not all(text.strip() for text in example.texts):
        return "the text is empty"
    if isinstance(example, Tagged) and not example.words:
        return "there are no tokens"
    if isinstance(example, Question) and not example.question.strip():
        return "the question is empty"
    if isinstance(example, Preference) and not (example.chosen and example.rejected):
        return f"{'rejected' if example.chosen else 'chosen'} is empty"
    if isinstance(example, Preference) and example.chosen == example.rejected:
        return "chosen and rejected are the same"
    return ""


def _says(message: Message) -> bool:
    return bool(str(message["content"]).strip() or message.get("tool_calls"))


def _repeats(located: Mapping[str, Sequence[Located]], report: Report) -> None:
    """Rows that stand there twice, and rows of one split that are in another too."""
    seen: dict[str, tuple[str, str, int]] = {}
    for split, items in located.items():
        for row, file, line in items:
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
            key = blake3(text.encode("utf-8", "surrogatepass")).hexdigest()
            if key not in seen:
                seen[key] = (split, file, line)
                continue
            where = seen[key]
            leak = where[0] != split
            report.leaks += leak
            report.duplicates += not leak
            words = f"the same as {where[1]}:{where[2]}" + (f", which is in the split {where[0]}" if leak else "")
            report.problems.append(Problem(file, line, words, serious=False))


def _balance(examples: Mapping[str, Sequence[Example]], report: Report) -> None:
    for split, some in examples.items():
        counts = Counter(str(e.label) for e in some if isinstance(e, Labelled))
        counts += Counter(str(tag) for e in some if isinstance(e, Tagged) for tag in e.tags)
        if not counts or len(counts) > max(50, len(some) // 2):
            continue  # numbers, not classes
        report.classes[split] = dict(counts.most_common())
        rare = [name for name, count in counts.items() if count < _RARE * max(counts.values())]
        if len(counts) == 1:
            report.notes.append(f"{split}: all rows have the label {next(iter(counts))}; none is to be told from it")
        if rare:
            report.notes.append(f"{split}: rare classes: {', '.join(sorted(rare)[:10])}; consider `stratify_by`")
    if len(report.classes) > 1:
        train = set(report.classes.get("train", {}))
        for split, counted in report.classes.items():
            unknown = set(counted) - train
            if split != "train" and train and unknown:
                report.notes.append(f"{split} has classes that train has not: {', '.join(sorted(unknown)[:10])}")
