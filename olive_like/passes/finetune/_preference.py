"""Direct preference optimisation: the better answer is to gain on the worse, measured from the model at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from olive_like.passes.finetune._objectives import (
    IGNORED,
    Batch,
    Language,
    Objective,
    PackedLanguage,
    PaddedLanguage,
    Record,
)


class Preferences(Objective):
    """Pairs of answers to one prompt."""

    def __init__(self, packed: bool, beta: float, loss_type: str, smoothing_of_pairs: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.language: Language = PackedLanguage(**settings) if packed else PaddedLanguage(**settings)
        self.padded = not packed
        self.beta, self.loss_type, self.smoothing_of_pairs = beta, loss_type, smoothing_of_pairs

    def length(self, record: Record) -> int:
        return 2 * len(record["prompt_ids"]) + len(record["chosen_ids"]) + len(record["rejected_ids"])

    def collate(self, records: Sequence[Record]) -> Batch:
        texts = [
            {
                "input_ids": record["prompt_ids"] + record[side],
                "labels": [IGNORED] * len(record["prompt_ids"]) + record[side],
            }
            for side in ("chosen_ids", "rejected_ids")
            for record in records
        ]
        batch = self.language.collate(texts)
        if "reference" in records[0]:
            batch["reference"] = torch.tensor([record["reference"] for record in records]).T.reshape(-1)
        return batch

    def items(self, batch: Batch) -> int:
        return self.language.texts(batch) // 2

    def tokens(self, batch: Batch) -> int:
        return self.language.tokens(batch)

    def log_probabilities(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every text the sum over its answer, and how many tokens that has."""
        logits, targets, keep = self.language.learnt(model, batch)
        owner = self.language.owners(batch, keep)
        each = -F.cross_entropy(logits.float(), targets, reduction="none")
        zero = torch.zeros(self.language.texts(batch), device=each.device)
        return zero.index_add(0, owner, each), zero.index_add(0, owner, torch.ones_like(each))

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        sums, counts = self.log_probabilities(model, batch)
        gain = sums - batch["reference"]
        if self.loss_type == "ipo":
            gain = gain / counts.clamp(min=1)
        better, worse = gain.chunk(2)
        margin = better - worse
        if self.loss_type == "hinge":
            each = torch.relu(1 - self.beta * margin)
        elif self.loss_type == "ipo":
            each = (margin - 1 / (2 * self.beta)) ** 2
        else:
            part = self.smoothing_of_pairs
            each = -F.logsigmoid(self.beta * margin) * (1 - part) - F.logsigmoid(-self.beta * margin) * part
        return each.sum(), {"accuracy": (margin > 0).sum(), "margin": self.beta * margin.detach().sum()}

    def remember(self, model: Any, records: Sequence[Record], size: int, device: str, precision: Any) -> None:
        """Write into every record what the model thinks of it before it is trained."""
        was_training = model.training
        model.eval()
        order = sorted(range(len(records)), key=lambda i: -self.length(records[i]))
        with torch.no_grad():
            for at in range(0, len(order), size):
                some = [records[i] for i in order[at : at + size]]
                batch = {k: v.to(device) if hasattr(v, "to") else v for k, v in self.collate(some).items()}
                with precision():
                    sums, _ = self.log_probabilities(model, batch)
                for record, pair in zip(some, sums.view(2, -1).T.tolist(), strict=True):
                    record["reference"] = pair
        model.train(was_training)
