"""A small training on a system of one's choice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tiny_models import tiny_llama

ROWS = [{"prompt": f"what is {i}?", "completion": f" it is {i * 2} and more"} for i in range(40)]
COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())", "run"]


class Training:
    """One model, one cache; a workflow per system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = tiny_llama(root / "model").path
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def file(self, system: dict[str, Any], name: str = "flow", **settings: Any) -> Path:
        path = self.root / f"{name}.json"
        step = {
            "type": "LoRA", "train_data_config": "rows", "r": 4, "alpha": 8, "lora_dropout": 0.0, "max_steps": 8,
            "eval_steps": 8, "save_steps": 100, "learning_rate": 1e-2, "torch_dtype": "float32",
        }  # fmt: skip
        path.write_text(
            json.dumps(
                {
                    "input_model": {"type": "HfModel", "model_path": str(self.model)},
                    "data_configs": [{"name": "rows", "rows": ROWS, "eval_fraction": 0.2}],
                    "systems": {"here": system},
                    "system": "here",
                    "passes": {"train": {**step, **settings}},
                    "cache_dir": str(self.root / "cache"),
                    "output_dir": str(self.root / "out" / name),
                }
            )
        )
        return path

    def run(self, system: dict[str, Any], name: str = "flow", **settings: Any) -> dict[str, Any]:
        """The run's own account of the pass."""
        file = self.file(system, name, **settings)
        done = subprocess.run(
            [*COMMAND, str(file), "--json"], capture_output=True, text=True, env=self.environment, timeout=280
        )
        assert done.stdout, done.stderr[-3000:]
        found: dict[str, Any] = next(p for p in json.loads(done.stdout)["passes"] if p["name"] == "train")
        if found["error"] and found["error"].get("log"):
            found["said"] = Path(found["error"]["log"]).read_text()[-3000:]
        return found

    def start(self, file: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, str(file), "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints that are whole."""
        found = self.root.glob("cache/scratch/*/checkpoint-*/trainer_state.json")
        return sorted(int(path.parent.name.rpartition("-")[2]) for path in found)
