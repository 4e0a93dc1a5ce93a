"""Calibration text: token sequences of one length, from the user's data or written by the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.data._tokenized import read
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer
from olive_like.passes.base import Context
from olive_like.passes.quantize._dequant import load_quantized

_LONGEST = 2048
_SHORTEST = 8
OWN_SEQUENCES, OWN_LENGTH = 64, 256  # of text that the model writes itself


def calibration_tokens(model: HfModel, context: Context, field: str = "data_config") -> torch.Tensor:
    """[sequences, length] token ids for a pass's data field."""
    dataset = context.data.get(field)
    if dataset is None:
        tokens = _own_text(model, context)
        context.note(
            f"no calibration data given: the model itself wrote {tokens.shape[0]} texts of {tokens.shape[1]} tokens "
            f"(seed {context.seed})"
        )
        return tokens
    records = [record.get("input_ids") for record in read(dataset)]
    return sequences(records, _vocabulary(model), context)


def sequences(records: Sequence[Any], vocabulary: int, context: Context) -> torch.Tensor:
    """Records of any length as sequences of one: cut where they are longer, joined where they are shorter."""
    if not records:
        raise PassError("the calibration data is empty", "Check the data set's `split` and `max_samples`.")
    if any(not isinstance(r, (list, tuple)) or any(not isinstance(t, int) for t in r) for r in records):
        raise PassError(
            "the calibration data has no token sequences: every record needs `input_ids`, a list of whole numbers",
            "Point `data_config` at text.",
        )
    longest = max(len(record) for record in records)
    total = sum(len(record) for record in records)
    if total < _SHORTEST:
        raise PassError(f"the calibration data is {total} tokens in all", "A few thousand tokens are the least.")
    biggest = max(max(record, default=0) for record in records)
    if biggest >= vocabulary:
        raise PassError(
            f"the calibration data has the token {biggest}, and the model's vocabulary ends at {vocabulary - 1}",
            "The data was tokenised for another model.",
        )
    length = min(longest, _LONGEST)
    if all(len(record) == length for record in records):
        return torch.tensor(records, dtype=torch.long)
    joined = torch.tensor([token for record in records for token in record], dtype=torch.long)
    count = len(joined) // length
    context.note(f"calibration: {len(records)} texts joined into {count} sequences of {length} tokens")
    return joined[: count * length].view(count, length)


def _vocabulary(model: HfModel) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.path, local_files_only=True)
    return int(config.get_text_config(decoder=True).vocab_size)


def _own_text(model: HfModel, context: Context) -> torch.Tensor:
    """What the model says when it starts from random words: near enough to what it was trained on."""
    tokenizer = load_tokenizer(model)
    network = load_quantized(model.path, dtype=torch.bfloat16).to(context.device)
    if not network.can_generate():
        raise PassError(
            f"{type(network).__name__} cannot write calibration text of its own", "Give the pass a `data_config`."
        )
    text = network.config.get_text_config(decoder=True)
    generator = torch.Generator().manual_seed(context.seed)
    specials = set(tokenizer.all_special_ids)
    allowed = torch.tensor([t for t in range(text.vocab_size) if t not in specials])
    count = OWN_SEQUENCES
    length = min(OWN_LENGTH, getattr(text, "max_position_embeddings", None) or OWN_LENGTH)
    start = allowed[torch.randint(len(allowed), (count, 1), generator=generator)]
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(context.seed)
        written = network.generate(
            start.to(context.device),
            attention_mask=torch.ones_like(start, device=context.device),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            min_new_tokens=length - 1,
            max_new_tokens=length - 1,
            pad_token_id=int(allowed[0]),
        )
    return written.cpu()
