"""What is learnt: how records become a batch, and a batch a sum of losses and what to divide it by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

IGNORED = -100
Batch = dict[str, Any]
Record = dict[str, Any]


class Objective:
    """Base: padded batches, the labels that the data have."""

    padded = True

    def __init__(self, pad_id: int = 0, smoothing: float = 0.0, pad_to: int | None = None, user: Any = None) -> None:
        self.pad_id, self.smoothing, self.pad_to, self.user = pad_id, smoothing, pad_to, user

    def length(self, record: Record) -> int:
        return len(record["input_ids"])

    def collate(self, records: Sequence[Record]) -> Batch:
        raise NotImplementedError

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The sum of the losses of all items, and sums of what else is to be known of the batch."""
        raise NotImplementedError

    def items(self, batch: Batch) -> int:
        """How many losses the sum has."""
        raise NotImplementedError

    def tokens(self, batch: Batch) -> int:
        """Tokens that are no padding."""
        return int(batch["attention_mask"].sum())

    def _inputs(self, records: Sequence[Record], name: str = "input_ids") -> Batch:
        ids = self._pad([record[name] for record in records], self.pad_id)
        mask = self._pad([[1] * len(record[name]) for record in records], 0)
        batch = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in records[0]:
            batch["token_type_ids"] = self._pad([record["token_type_ids"] for record in records], 0)
        return batch

    def _pad(self, rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
        size = self.pad_to or max(len(row) for row in rows)
        return torch.tensor([list(row) + [value] * (size - len(row)) for row in rows])

    def _sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.user is not None:
            count = (labels != IGNORED).sum() if not labels.is_floating_point() else labels.numel()
            return self.user(logits, labels) * count
        return F.cross_entropy(
            logits.float(), labels, reduction="sum", ignore_index=IGNORED, label_smoothing=self.smoothing
        )


class Language(Objective):
    """Next tokens."""

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits, targets, _ = self.learnt(model, batch)
        return self._sum(logits, targets), {}

    def learnt(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits where something is learnt, what is learnt there, and where that is."""
        raise NotImplementedError

    def texts(self, batch: Batch) -> int:
        """How many texts a batch has."""
        raise NotImplementedError

    def owners(self, batch: Batch, keep: torch.Tensor) -> torch.Tensor:
        """Of which text each of what is learnt is."""
        raise NotImplementedError


class PackedLanguage(Language):
    """Documents put one after the other: no padding, logits only where something is learnt."""

    padded = False

    def collate(self, records: Sequence[Record]) -> Batch:
        ids: list[int] = []
        targets: list[int] = []
        positions: list[int] = []
        lengths: list[int] = []
        for record in records:
            ids += record["input_ids"]
            start = 0
            for length in record.get("lengths") or [len(record["input_ids"])]:
                targets += [*record["labels"][start + 1 : start + length], IGNORED]
                positions += range(length)
                lengths.append(length)
                start += length
        return {
            "input_ids": torch.tensor([ids]),
            "position_ids": torch.tensor([positions]),
            "targets": torch.tensor([targets]),
            "lengths": lengths,
        }

    def learnt(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        keep = batch["targets"] != IGNORED
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            use_cache=False,
            logits_to_keep=keep,
            document_lengths=batch["lengths"],
        ).logits
        return logits.view(-1, logits.shape[-1]), batch["targets"][keep], keep

    def texts(self, batch: Batch) -> int:
        return len(batch["lengths"])

    def owners(self, batch: Batch, keep: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor(batch["lengths"], device=keep.device)
        return torch.repeat_interleave(torch.arange(len(lengths), device=keep.device), lengths)[keep[0]]

    def items(self, batch: Batch) -> int:
        return int((batch["targets"] != IGNORED).sum())

    def tokens(self, batch: Batch) -> int:
        return batch["input_ids"].numel()


class PaddedLanguage(Language):
    """One example per row, for models whose attention cannot be told of documents."""

    def collate(self, records: Sequence[Record]) -> Batch:
        return self._inputs(records) | {"labels": self._pad([record["labels"] for record in records], IGNORED)}

    def learnt(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
        targets = batch["labels"][:, 1:]
        keep = targets != IGNORED
        return logits[:, :-1][keep], targets[keep], keep

    def texts(self, batch: Batch) -> int:
        return len(batch["labels"])

    def owners(self, batch: Batch, keep: torch.Tensor) -> torch.Tensor:
        return keep.nonzero()[:, 0]

    def items(self, batch: Batch) -> int:
        return int((batch["labels"][:, 1:] != IGNORED).sum())


class Seq2Seq(Objective):
    """The target text, token by token."""

    def collate(self, records: Sequence[Record]) -> Batch:
        size, self.pad_to = self.pad_to, None
        labels = self._pad([record["labels"] for record in records], IGNORED)
        self.pad_to = size
        return self._inputs(records) | {"labels": labels}

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = model(**batch).logits
        return self._sum(logits.view(-1, logits.shape[-1]), batch["labels"].view(-1)), {}

    def items(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())


class Classes(Objective):
    """One class, or one number, per text."""

    def __init__(self, *args: Any, regression: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.regression = regression

    def collate(self, records: Sequence[Record]) -> Batch:
        kind = torch.float32 if self.regression else torch.int64
        return self._inputs(records) | {"labels": torch.tensor([record["label"] for record in records], dtype=kind)}

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        labels = batch["labels"]
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        if self.regression:
            if self.user is not None:
                return self.user(logits.view(-1), labels) * labels.numel(), {}
            return F.mse_loss(logits.float().view(-1), labels, reduction="sum"), {}
        return self._sum(logits, labels), {"accuracy": (logits.argmax(-1) == labels).sum()}

    def items(self, batch: Batch) -> int:
        return len(batch["labels"])


class TokenClasses(Objective):
    """One class per word."""

    def collate(self, records: Sequence[Record]) -> Batch:
        return self._inputs(records) | {"labels": self._pad([record["labels"] for record in records], IGNORED)}

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        labels = batch["labels"]
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        right = ((logits.argmax(-1) == labels) & (labels != IGNORED)).sum()
        return self._sum(logits.view(-1, logits.shape[-1]), labels.view(-1)), {"accuracy": right}

    def items(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())


class Answers(Objective):
    """Where an answer begins and ends."""

    def collate(self, records: Sequence[Record]) -> Batch:
        places = {name: torch.tensor([record[name] for record in records]) for name in ("start", "end")}
        return self._inputs(records) | places

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        start, end = batch["start"], batch["end"]
        output = model(**{name: value for name, value in batch.items() if name not in ("start", "end")})
        right = (output.start_logits.argmax(-1) == start) & (output.end_logits.argmax(-1) == end)
        loss = (self._sum(output.start_logits, start) + self._sum(output.end_logits, end)) / 2
        return loss, {"exact_match": right.sum()}

    def items(self, batch: Batch) -> int:
        return len(batch["start"])


class Comparison(Objective):
    """Pairs of texts, each by itself: the user's loss says how near their embeddings should be."""

    def collate(self, records: Sequence[Record]) -> Batch:
        both = [record[side] for side in ("first_text", "second_text") for record in records]
        batch = self._inputs([{"input_ids": ids} for ids in both])
        return batch | {"labels": torch.tensor([float(record["label"]) for record in records])}

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mask = batch["attention_mask"]
        hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state.float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        first, second = mean.chunk(2)
        return self.user(first, second, batch["labels"]) * len(batch["labels"]), {}

    def items(self, batch: Batch) -> int:
        return len(batch["labels"])
