"""The training that benchmarks/systems.py times, as one writes it by hand: Trainer, peft and a DeepSpeed file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import torch
from deepspeed import init_distributed, ops
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from benchmarks.systems import ROWS
from olive_like.systems import zero

ops.__compatible_ops__["deepspeed_shm_comm"] = False


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])

    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    return {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100), "attention_mask": torch.tensor(mask)}


def examples(tokenizer: Any) -> list[dict[str, list[int]]]:
    found = []
    for row in ROWS:
        prompt, answer = tokenizer(row["prompt"])["input_ids"], tokenizer(row["completion"])["input_ids"]
        found.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return found


def main(model: str, stage: str, steps: str) -> None:
    torch.set_num_threads(1)
    init_distributed(dist_backend="gloo", verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=4, max_steps=int(steps), save_strategy="no",
            logging_steps=10_000, report_to=[], disable_tqdm=True, use_cpu=True, learning_rate=2e-4,
            remove_unused_columns=False, deepspeed=zero.settings(int(stage), None, None, False, {}),
        )  # fmt: skip
        base = AutoModelForCausalLM.from_pretrained(model)
        adapted = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, task_type="CAUSAL_LM"))
        rows = examples(AutoTokenizer.from_pretrained(model))
        told = Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=collate).train()
    if os.environ["RANK"] == "0":
        print("JSON " + json.dumps({"samples_per_second": told.metrics["train_samples_per_second"]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
