"""Train the tiny language model that the quickstart ships, on public-domain text.

usage: train_tiny_model.py OUT --bible kjv.txt --dictionary devil.dict [--steps N]

The texts are the King James Bible (1611; Debian's `bible-kjv`: `bible 'gen1:1-rev22:21' > kjv.txt`) and The
Devil's Dictionary by Ambrose Bierce (1911; Debian's `dict-devil`: `zcat devil.dict.dz > devil.dict`).
"""

from __future__ import annotations

import argparse
import random
import re
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARY, LENGTH, BATCH = 2048, 128, 16


def verses(file: Path) -> list[str]:
    """The verses, without their numbers."""
    lines = [re.sub(r"^\s*\d+\s+", "", line).strip() for line in file.read_text("utf-8", "replace").splitlines()]
    return [line for line in lines if len(line.split()) > 4]


def definitions(file: Path) -> list[tuple[str, str]]:
    """Words and what the dictionary says of them, short ones only."""
    text = file.read_text("utf-8", "replace")
    found = re.findall(r"^([A-Z][A-Z' -]{2,20}),\s*((?:n|adj|v\.t|v\.i|adv|pp)\..*?)(?=\n\s*\n)", text, re.M | re.S)
    pairs = [(word.strip().lower(), " ".join(said.split())) for word, said in found]
    return [(word, said) for word, said in pairs if len(said) < 320]


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        model_max_length=512,
        chat_template=TEMPLATE,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--bible", type=Path, required=True)
    parser.add_argument("--dictionary", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.manual_seed(0)
    shuffle = random.Random(0)
    bible, entries = verses(args.bible), definitions(args.dictionary)
    print(f"{len(bible):,} verses, {len(entries):,} definitions")
    tokenizer = tokenizer_of([*bible, *(f"{word}: {said}" for word, said in entries)])
    chats = [
        f"<|im_start|>user\nWhat is {word}?<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n"
        for word, said in entries
    ]
    documents = bible + chats * 12
    shuffle.shuffle(documents)
    ids = [
        token
        for text in tokenizer([d + ("" if d.endswith("\n") else "\n") for d in documents])["input_ids"]
        for token in text
    ]
    data = torch.tensor(ids[: len(ids) // LENGTH * LENGTH]).view(-1, LENGTH)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {data.numel():,} tokens")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.steps, pct_start=0.05)
    begun = time.time()
    for step in range(args.steps):
        batch = data[torch.randint(len(data), (BATCH,))]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == args.steps - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.time() - begun:.0f} s", flush=True)
        if step % 300 == 299 or step == args.steps - 1:
            model.to(torch.bfloat16).save_pretrained(args.out)
            tokenizer.save_pretrained(args.out)
            model.float()


if __name__ == "__main__":
    main()
