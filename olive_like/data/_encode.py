"""Examples become tokens, with a label for every token that is to be learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from olive_like.data._chat import ChatRenderer, Rendered
from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.examples import Chat, Example, Labelled, Pair, Preference, Question, Tagged

IGNORED = -100  # the label that losses leave out
Record = dict[str, Any]
TEXTS = ("input_ids", "prompt_ids", "chosen_ids", "rejected_ids")  # the columns whose tokens count


@dataclass
class Encoded:
    """Records of one kind, and what was done to get them."""

    kind: str  # lm, seq2seq, classification, regression, token_classification, preference, question_answering
    records: list[Record]
    labels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cut: int = 0  # examples longer than the limit
    cut_tokens: int = 0
    dropped: int = 0  # examples of which nothing to learn was left

    @property
    def tokens(self) -> int:
        return sum(len(record[name]) for record in self.records for name in TEXTS if name in record)

    @property
    def trained_tokens(self) -> int:
        if self.kind not in ("lm", "seq2seq", "token_classification"):
            return self.tokens
        return sum(label != IGNORED for record in self.records for label in record["labels"])


class Encoder:
    """A tokenizer with a data set's settings."""

    def __init__(self, tokenizer: Any, config: DataConfig, max_len: int, seq2seq: bool = False) -> None:
        self.tokenizer, self.config, self.max_len, self.seq2seq = tokenizer, config, max_len, seq2seq
        self.chat = ChatRenderer(tokenizer, config.chat_template)
        self._before, self._after = _special_tokens(tokenizer)
        self.uses_chat = False
        self._measures: bool | None = None  # whether labels are numbers to come near to: the first rows say it for all

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """All examples, which are of one kind, or as many of what they become as the settings allow."""
        result = self._encode(examples)
        result.records = result.records[: self.config.max_examples]
        return result

    def _encode(self, examples: Sequence[Example]) -> Encoded:
        first = examples[0]
        if isinstance(first, Labelled):
            return self._labelled([e for e in examples if isinstance(e, Labelled)])
        if isinstance(first, Tagged):
            return self._tagged([e for e in examples if isinstance(e, Tagged)])
        if isinstance(first, Preference):
            return self._preferences([e for e in examples if isinstance(e, Preference)])
        if isinstance(first, Question):
            return self._questions([e for e in examples if isinstance(e, Question)])
        self.uses_chat = any(isinstance(example, Chat) for example in examples)
        if self.seq2seq:
            return self._seq2seq(examples)
        result = self._language(list(self.rendered(examples)))
        result.notes += self.chat.notes if self.uses_chat else []
        return result

    def rendered(self, examples: Sequence[Example]) -> Iterator[Rendered]:
        """Texts and what of them is to be learnt."""
        for number, example in enumerate(examples, 1):
            if isinstance(example, Chat):
                try:
                    text = self.chat.render(example)
                except DataError as error:
                    raise DataError(f"row {number}: {error.message}", error.hint) from None
            elif isinstance(example, Pair):
                whole = example.prompt + example.completion
                text = Rendered(whole, [(len(example.prompt), len(whole))])
            else:
                raise DataError("the rows are of more than one shape")
            if self.config.train_on_prompt:
                text.spans = [(0, len(text.text))]
            yield text

    def token_records(self, texts: Sequence[Rendered]) -> list[Record]:
        """Token ids and labels of whole texts, nothing cut, the markers at both ends exactly once."""
        if not texts:
            return []
        encoded = self.tokenizer(
            [text.text for text in texts], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        records = []
        for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            labels = _labels_of(ids, offsets, text.spans)
            records.append(self._with_markers(list(ids), labels, text))
        return records

    def _with_markers(self, ids: list[int], labels: list[int], text: Rendered) -> Record:
        said = self.config.add_special_tokens
        if said is False:
            return {"input_ids": ids, "labels": labels}
        before, after = self._before, self._after
        if ids[: len(before)] != before:
            ids, labels = before + ids, [IGNORED] * len(before) + labels
        end = self.tokenizer.eos_token_id
        if said is None and end is not None and not self._closed(text):
            after = after if end in after else [*after, end]
        if after and ids[-len(after) :] != after:
            ids, labels = ids + after, labels + after
        return {"input_ids": ids, "labels": labels}

    def _closed(self, text: Rendered) -> bool:
        """Whether a chat template has put its own end marker after the last turn."""
        return self.uses_chat and bool(text.spans) and self.chat.template != _plain()

    def _language(self, texts: list[Rendered]) -> Encoded:
        records = self.token_records(texts)
        if self.config.strategy == "join":
            return self._joined(records)
        result = Encoded("lm", [])
        pieces = self.config.packing and all(len(t.spans) == 1 and t.spans[0][0] == 0 for t in texts)
        for record in records:
            ids, labels = record["input_ids"], record["labels"]
            if len(ids) > self.max_len:
                result.cut += 1
                result.cut_tokens += 0 if pieces else len(ids) - self.max_len
            stops = range(0, len(ids), self.max_len) if pieces else (0,)
            parts = [(ids[s : s + self.max_len], labels[s : s + self.max_len]) for s in stops]
            learnt = [{"input_ids": a, "labels": b} for a, b in parts if any(label != IGNORED for label in b[1:])]
            result.dropped += not learnt
            result.records += learnt
        if pieces and result.cut:
            result.notes.append(f"{result.cut:,} long texts are split into pieces of {self.max_len:,} tokens")
        return result

    def _joined(self, records: list[Record]) -> Encoded:
        joiner = self.config.joiner
        between = self.tokenizer(joiner, add_special_tokens=False)["input_ids"] if joiner else []
        ids = [token for record in records for token in (*record["input_ids"], *between)]
        ids = ids[: len(ids) - len(between)]
        size = self.max_len
        pieces = [ids[start : start + size] for start in range(0, len(ids), size)]
        return Encoded("lm", [{"input_ids": p, "labels": list(p)} for p in pieces if len(p) > 1])

    def _seq2seq(self, examples: Sequence[Example]) -> Encoded:
        result = Encoded("seq2seq", [])
        pairs = [self._as_pair(example) for example in examples]
        inputs = self.tokenizer([prompt for prompt, _ in pairs], verbose=False)["input_ids"]
        targets = self.tokenizer(text_target=[answer for _, answer in pairs], verbose=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        for source, target in zip(inputs, targets, strict=True):
            if end is not None and (not target or target[-1] != end):
                target = [*target, end]
            result.cut += len(source) > self.max_len or len(target) > self.max_len
            result.cut_tokens += max(0, len(source) - self.max_len) + max(0, len(target) - self.max_len)
            result.records.append({"input_ids": list(source[: self.max_len]), "labels": list(target[: self.max_len])})
        return result

    def _as_pair(self, example: Example) -> tuple[str, str]:
        if isinstance(example, Pair):
            if not example.prompt:
                raise DataError(
                    "an encoder-decoder model needs a prompt and a completion, the rows have one text only",
                    "Name the columns: `columns: {prompt: document, completion: summary}`.",
                )
            return example.prompt, example.completion
        assert isinstance(example, Chat)
        *before, last = example.messages
        if last["role"] != "assistant":
            raise DataError("the last message is not the assistant's")
        return "\n".join(str(message["content"]) for message in before), str(last["content"])

    def _labelled(self, examples: list[Labelled]) -> Encoded:
        values = [example.label for example in examples]
        if self._measures is None:
            self._measures = not self.config.labels and _are_measured(values)
        result = Encoded("regression" if self._measures else "classification", [])
        if not self._measures:
            result.labels = list(
                self.config.labels or sorted({_label_name(value) for value in values}, key=_label_order)
            )
        for example, record in zip(examples, self._classified(examples, result), strict=True):
            label = example.label
            record["label"] = _measured(label) if self._measures else _index(label, result.labels)
            result.records.append(record)
        return result

    def _classified(self, examples: list[Labelled], result: Encoded) -> list[Record]:
        pair = [e.texts[1] for e in examples] if len(examples[0].texts) > 1 else None
        encoded = self.tokenizer([e.texts[0] for e in examples], pair, truncation=False, verbose=False)
        long = [i for i, ids in enumerate(encoded["input_ids"]) if len(ids) > self.max_len]
        result.cut = len(long)
        result.cut_tokens = sum(len(encoded["input_ids"][i]) - self.max_len for i in long)
        names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
        records = [{name: list(encoded[name][i]) for name in names} for i in range(len(examples))]
        for i in long:  # again, so that the end marker survives the cut
            texts = (examples[i].texts[0], examples[i].texts[1] if pair else None)
            cut = self.tokenizer(*texts, truncation=True, max_length=self.max_len, verbose=False)
            records[i] = {name: list(cut[name]) for name in names}
        if pair is not None:  # for losses that compare what the model makes of either
            for side in (0, 1):
                texts = [example.texts[side] for example in examples]
                alone = self.tokenizer(texts, truncation=True, max_length=self.max_len, verbose=False)["input_ids"]
                for record, ids in zip(records, alone, strict=True):
                    record[f"{('first', 'second')[side]}_text"] = list(ids)
        if "token_type_ids" in names and pair is None:
            for record in records:
                del record["token_type_ids"]  # all zero: the model's default
        return records

    def _tagged(self, examples: list[Tagged]) -> Encoded:
        names = self.config.labels or sorted(
            {_label_name(tag) for example in examples for tag in example.tags}, key=_label_order
        )
        result = Encoded("token_classification", [], labels=list(names))
        for example in examples:
            encoded = self.tokenizer(example.words, is_split_into_words=True, truncation=False, verbose=False)
            labels: list[int] = []
            last = None
            for word in encoded.word_ids():
                labels.append(IGNORED if word is None or word == last else _index(example.tags[word], names))
                last = word
            ids = list(encoded["input_ids"])
            if len(ids) > self.max_len:
                result.cut += 1
                result.cut_tokens += len(ids) - self.max_len
                tail = [] if not self._after else self._after
                ids = ids[: self.max_len - len(tail)] + tail
                labels = labels[: self.max_len - len(tail)] + [IGNORED] * len(tail)
            result.records.append({"input_ids": ids, "labels": labels})
        return result

    def _preferences(self, examples: list[Preference]) -> Encoded:
        result = Encoded("preference", [])
        for example in examples:
            prompt, chosen, rejected = (self._side(example, which) for which in ("prompt", "chosen", "rejected"))
            longest = max(len(chosen), len(rejected))
            if len(prompt) + longest > self.max_len:
                result.cut += 1
                result.cut_tokens += len(prompt) + longest - self.max_len
                room = max(self.max_len - len(prompt), self.max_len // 2)  # at least half is for the answers
                chosen, rejected = chosen[:room], rejected[:room]
                prompt = prompt[-(self.max_len - max(len(chosen), len(rejected))) :]
            result.records.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
        result.notes += self.chat.notes if any(not isinstance(e.prompt, str) for e in examples) else []
        return result

    def _side(self, example: Preference, which: str) -> list[int]:
        """The tokens of the prompt, or of what follows it."""
        end = self.tokenizer.eos_token_id
        if isinstance(example.prompt, str):
            text = str(getattr(example, which))
            ids = list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            return self._before + ids if which == "prompt" else [*ids, end] if end is not None else ids
        before = self.chat.prompt(example.prompt)
        if which == "prompt":
            ids = list(self.tokenizer(before, add_special_tokens=False, verbose=False)["input_ids"])
            return ids if ids[: len(self._before)] == self._before else self._before + ids
        rendered = self.chat.render(Chat([*example.prompt, *getattr(example, which)]))
        answer = (
            rendered.text[len(before) :] if rendered.text.startswith(before) else rendered.text[rendered.spans[0][0] :]
        )
        return list(self.tokenizer(answer.rstrip(), add_special_tokens=False, verbose=False)["input_ids"])

    def _questions(self, examples: list[Question]) -> Encoded:
        result = Encoded("question_answering", [])
        for example in examples:
            encoded = self.tokenizer(
                example.question,
                example.context,
                truncation="only_second",
                max_length=self.max_len,
                stride=min(64, self.max_len // 4),
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                verbose=False,
            )
            result.cut += len(encoded["input_ids"]) > 1
            for window in range(len(encoded["input_ids"])):
                start, end = _answer_tokens(encoded, window, example)
                record = {"input_ids": list(encoded["input_ids"][window]), "start": start, "end": end}
                if "token_type_ids" in encoded:
                    record["token_type_ids"] = list(encoded["token_type_ids"][window])
                result.records.append(record)
        if result.cut:
            result.notes.append(f"{result.cut:,} long contexts are read in overlapping windows")
        return result


def _plain() -> str:
    from olive_like.data._chat import PLAIN_TEMPLATE

    return PLAIN_TEMPLATE


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("a")["input_ids"])
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def _labels_of(ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """The token itself where its text lies in a span, IGNORED elsewhere."""
    labels = [IGNORED] * len(ids)
    left = iter(sorted(spans))
    span = next(left, None)
    for index, (start, end) in enumerate(offsets):
        while span is not None and start >= span[1]:
            span = next(left, None)
        if span is None:
            break
        if end > span[0] and end > start:
            labels[index] = ids[index]
    return labels


def _answer_tokens(encoded: Any, window: int, example: Question) -> tuple[int, int]:
    """First and last token of the answer; both 0 where the window does not have it."""
    stop = example.start + len(example.answer)
    inside = [
        index
        for index, (sequence, (start, end)) in enumerate(
            zip(encoded.sequence_ids(window), encoded["offset_mapping"][window], strict=True)
        )
        if sequence == 1 and start < stop and end > example.start and end > start
    ]
    if example.start < 0 or not inside:
        return 0, 0
    offsets = encoded["offset_mapping"][window]
    whole = offsets[inside[0]][0] <= example.start and offsets[inside[-1]][1] >= stop
    return (inside[0], inside[-1]) if whole else (0, 0)


def _number(label: Any) -> float | None:
    """A label as a number, which CSV writes as text; None if it is none."""
    try:
        number = None if isinstance(label, bool) else float(label)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def _are_measured(labels: Sequence[Any]) -> bool:
    """Whether labels are numbers, and not all of them whole ones, which would be classes."""
    numbers = [_number(label) for label in labels]
    return None not in numbers and any(number is not None and not number.is_integer() for number in numbers)


def _measured(label: Any) -> float:
    number = _number(label)
    if number is None:
        raise DataError(f"the label {label!r} is no number, as those of the other rows are")
    return number


def _label_name(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _label_order(name: str) -> tuple[int, float, str]:
    """Numbers in their order, then words in theirs."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _index(label: Any, names: Sequence[str]) -> int:
    name = _label_name(label)
    try:
        return list(names).index(name)
    except ValueError:
        place = int(name) if name.isdecimal() else len(names)
        if place < len(names) and any(_number(known) is None for known in names):
            return place  # the data say the class by its number, the config by its name
        raise DataError(
            f"the label {name!r} is unknown; known: {', '.join(names)}", "Correct it, or add it to `labels`."
        ) from None
