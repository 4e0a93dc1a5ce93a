"""Rows of several documents give what each document gives alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olive_like.errors import PassError
from olive_like.passes.finetune import adapters
from tests.finetune.helpers import SUMS, prepare, run
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_phi3, tiny_qwen2

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_phi3])
@pytest.mark.parametrize("window", [None, 5])
def test_the_logits_of_each_document(make: Any, window: int | None, tmp_path: Path) -> None:
    import torch

    from olive_like.passes._models import load_model
    from olive_like.passes.finetune import _attention

    settings: dict[str, Any] = {}
    if window and make is tiny_llama:
        pytest.skip("Llama has no sliding window")
    if window:
        settings = {"sliding_window": window} | ({"use_sliding_window": True} if make is tiny_qwen2 else {})
    model = make(tmp_path / "model", **settings)
    _attention.register()
    plain, packed = load_model(model), load_model(model, attention=_attention.NAME)
    generator = torch.Generator().manual_seed(0)
    documents = [torch.randint(5, 400, (1, n), generator=generator) for n in (7, 1, 19, 4)]
    row = torch.cat(documents, 1)
    positions = torch.cat([torch.arange(d.shape[1]) for d in documents])[None]
    lengths = [d.shape[1] for d in documents]
    with torch.no_grad():
        together = packed(input_ids=row, position_ids=positions, document_lengths=lengths, use_cache=False).logits
        alone = torch.cat([plain(input_ids=document).logits for document in documents], 1)
        mixed = plain(input_ids=row, position_ids=torch.arange(row.shape[1])[None]).logits
    assert (together - alone).abs().max() < 1e-5
    assert (mixed - alone).abs().max() > 1e-3  # the test can fail


def test_gradients_are_those_of_padded_batches(tmp_path: Path) -> None:
    import torch

    from olive_like.data._tokenized import read
    from olive_like.passes._models import load_model
    from olive_like.passes.finetune import _attention
    from olive_like.passes.finetune._objectives import PackedLanguage, PaddedLanguage

    model = tiny_llama(tmp_path / "model")
    records = read(prepare(model, tmp_path / "data", rows=SUMS[:6]))
    _attention.register()
    gradients = []
    for objective, attention in ((PaddedLanguage(), "sdpa"), (PackedLanguage(), _attention.NAME)):
        loaded = load_model(model, attention=attention).train()
        batch = objective.collate(records)
        loss, _ = objective.loss(loaded, batch)
        (loss / objective.items(batch)).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in loaded.parameters()]))
    assert (gradients[0] - gradients[1]).abs().max() < 1e-6


def test_packed_data_train_and_other_architectures_are_refused(tmp_path: Path) -> None:
    llama, gpt2 = tiny_llama(tmp_path / "llama"), tiny_gpt2(tmp_path / "gpt2")
    data = prepare(llama, tmp_path / "data", rows=SUMS, packing=True, max_seq_len=64, eval_fraction=0.2)
    settings = {"r": 4, "max_steps": 8, "learning_rate": 1e-2, "batch_size": 2, "eval_steps": 4}
    _, said = run(adapters.LoRA, llama, tmp_path / "a", data, **settings)
    losses = said.losses("eval_loss")
    assert losses[-1] < losses[0]
    with pytest.raises(PassError, match="without mixing up the examples"):
        run(adapters.LoRA, gpt2, tmp_path / "b", prepare(gpt2, tmp_path / "d2", rows=SUMS, packing=True), max_steps=1)
