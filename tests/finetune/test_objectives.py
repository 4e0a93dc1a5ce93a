"""The same losses, whether batches are packed or padded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import tiny_llama

RECORDS = [
    {"prompt_ids": [5, 6, 7], "chosen_ids": [8, 9], "rejected_ids": [10]},
    {"prompt_ids": [5], "chosen_ids": [6, 7, 8, 9], "rejected_ids": [11, 12]},
]


def test_preferences_packed_and_padded(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune import _attention
    from olive_like.passes.finetune._preference import Preferences

    _attention.register()
    source = tiny_llama(tmp_path)
    found = {}
    for packed in (True, False):
        model = load_model(source, dtype="float32", attention=_attention.NAME if packed else "eager")
        objective = Preferences(packed, 0.1, "sigmoid", 0.0, pad_id=0)
        batch = objective.collate(RECORDS)
        assert objective.items(batch) == 2
        with torch.no_grad():
            sums, counts = objective.log_probabilities(model, batch)
            batch["reference"] = sums - torch.tensor([1.0, 0.0, 0.0, 2.0])
            loss, others = objective.loss(model, batch)
        assert counts.tolist() == [2, 4, 1, 2]
        # What was gained: the first pair's chosen by 1, the second's rejected by 2.
        wanted = -torch.nn.functional.logsigmoid(torch.tensor([0.1, -0.2])).sum()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
        assert others["accuracy"] == 1
        found[packed] = sums
    assert torch.allclose(found[True], found[False], atol=1e-5)
