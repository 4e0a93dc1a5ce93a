"""Olive's LoRA for finetune.py, run by the Python of an environment that has it: NAME, arguments as JSON, answer."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import olive
import transformers
from olive.workflows import run


class Clock(transformers.TrainerCallback):
    """The first step warms caches up; its time is left out, as it is of the others'."""

    began: tuple[float, float] | None = None
    took = (0.0, 0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.perf_counter(), time.process_time()
        Clock.began = Clock.began or now
        Clock.took = now[0] - Clock.began[0], now[1] - Clock.began[1]


def train(model: str, data: str, steps: int, batch: int, length: int, dtype: str) -> Any:
    made = transformers.Trainer.__init__

    def with_clock(self: Any, *args: Any, **settings: Any) -> None:
        made(self, *args, **settings)
        self.add_callback(Clock())

    transformers.Trainer.__init__ = with_clock
    folder = tempfile.mkdtemp()
    rows = [{"text": row["output"]} for row in json.loads(Path(data, "alpaca_en_demo.json").read_text("utf-8"))]
    text = Path(folder, "text.json")
    text.write_text(json.dumps(rows), "utf-8")
    cpu = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    arguments = {
        "max_steps": steps + 1,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": False,
        "learning_rate": 2e-4,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
    }
    run(
        {
            "input_model": {"type": "HfModel", "model_path": model, "task": "text-generation"},
            "systems": {"here": {"type": "LocalSystem", "accelerators": [cpu]}},
            "data_configs": [
                {
                    "name": "text",
                    "type": "HuggingfaceContainer",
                    "load_dataset_config": {"data_name": "json", "data_files": str(text), "split": "train"},
                    "pre_process_data_config": {
                        "text_cols": "text",
                        "max_seq_len": length,
                        "strategy": "join",
                        "use_attention_mask": False,
                    },
                }
            ],
            "passes": {
                "lora": {
                    "type": "LoRA",
                    "train_data_config": "text",
                    "r": 16,
                    "alpha": 32,
                    "lora_dropout": 0.0,
                    "torch_dtype": dtype,
                    "target_modules": ["q_proj", "v_proj"],
                    "training_args": arguments,
                }
            },
            "host": "here",
            "target": "here",
            "cache_dir": f"{folder}/cache",
            "output_dir": f"{folder}/out",
        }
    )
    tokens = batch * length * steps
    rates = {"tokens_per_second": tokens / Clock.took[0], "tokens_per_cpu_second": tokens / Clock.took[1]}
    return rates | {"version": olive.__version__}


if __name__ == "__main__":
    answer = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(answer), "utf-8")
