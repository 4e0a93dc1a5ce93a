"""Carry out a page of the manual: its blocks one after the other, in one folder, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

import olive_like
from tests.docs.pages import Block, blocks

STEPS = 2  # of trainings: what they are for is shown by the examples' own tests
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")  # a first line that says which file this is


class Session:
    """One page being carried out."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.names: dict[str, Any] = {"__name__": "__main__"}  # Python blocks go on where the one before them ended

    def carry_out(self, page: Path) -> None:
        for block in blocks(page):
            self._keep(block)
            if block.why_not is None:
                try:
                    getattr(self, f"_{block.language}")(block)
                except BaseException as error:
                    error.add_note(f"in block {block.number} of {page.name}:\n{block.text}")
                    raise

    def _keep(self, block: Block) -> None:
        """A block that names its file becomes that file."""
        if named := _FILE.match(block.text):
            file = self.folder / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")

    def _python(self, block: Block) -> None:
        exec(compile(block.text, block.name, "exec"), self.names)

    def _toml(self, block: Block) -> None:
        tomllib.loads(block.text)

    def _sh(self, block: Block) -> None:
        script = f'set -e\nolive-like() {{ "{sys.executable}" -m olive_like "$@"; }}\n{block.text}'
        environment = {**os.environ, "OLIVE_LIKE_CACHE": str(self.cache)}
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]

    def _yaml(self, block: Block) -> None:
        workflow = whole(block.text, self.folder)
        for step in passes_of(workflow):
            if "train_data_config" in step:
                step.setdefault("training_args", {}).pop("num_train_epochs", None)
                step["max_steps"] = STEPS
        if "search_strategy" in workflow:
            workflow["search_strategy"]["max_samples"] = 2
        olive_like.run(
            workflow, in_process=True, cache_dir=self.cache, output_dir=self.folder / block.name
        ).raise_for_status()


def passes_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Every pass, alternatives included."""
    steps = [step for step in workflow["passes"].values()]
    return [one for step in steps for one in (step if isinstance(step, list) else [step]) if one]


def whole(text: str, folder: Path) -> dict[str, Any]:
    """A workflow of what may be a part of one: what a page left out as being beside the point is filled in."""
    workflow: dict[str, Any] = yaml.safe_load(text)
    workflow.setdefault("input_model", {"type": "HfModel", "model_path": "quickstart/model"})
    if not str(workflow["input_model"].get("model_path", "/")).startswith("/"):
        workflow["input_model"]["model_path"] = str(folder / workflow["input_model"]["model_path"])
    if "metrics" in workflow:
        workflow["evaluators"] = {"own": {"metrics": workflow.pop("metrics")}}
    workflow.setdefault("passes", {"small": {"type": "Rtn", "group_size": 32}})
    rows = workflow.setdefault("data_configs", [])
    for one in rows:
        one["source"] = str(folder / one["source"])
    here = {one["name"] for one in rows}
    for name in dict.fromkeys(re.findall(r"data_config: (\w+)", text)):
        if name not in here:
            rows.append({"name": name, "source": str(folder / "train.jsonl"), "max_seq_len": 128})
    return workflow
