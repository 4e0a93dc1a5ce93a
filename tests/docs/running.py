"""Carry out a page of the manual: its blocks one after the other, in one folder, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import olive_like
from olive_like.workflow.loader import loads
from tests.docs.pages import Block, blocks

STEPS = 2  # of a training: that trainings train is for other tests
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")  # a first line that says which file this is


class Session:
    """A page being carried out in the current folder."""

    def __init__(self, cache: Path) -> None:
        self.place = self.folder = Path.cwd()
        self.cache = cache
        self.names: dict[str, Any] = {"__name__": "__main__"}  # Python goes on where the block before ended

    def carry_out(self, page: Path) -> None:
        for block in blocks(page):
            named = _FILE.match(block.text)
            if named:
                file = self.place / named[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
            if block.why_not is None:
                try:
                    self._carry_out(block, named is not None)
                except BaseException as error:
                    error.add_note(f"block {block.number} of {page.name}:\n{block.text}")
                    raise

    def _carry_out(self, block: Block, is_file: bool) -> None:
        if block.language == "sh":
            self._shell(block.text)
        elif block.language == "toml":
            self._install(tomllib.loads(block.text))
        elif block.language == "yaml":
            if not is_file:  # otherwise it is for the commands that follow
                self._workflow(block)
        elif not (is_file and (self.place / "pyproject.toml").exists()):
            exec(compile(block.text, block.name, "exec"), self.names)

    def _shell(self, text: str) -> None:
        there = self.place / ".there"
        script = f'set -e\nolive-like() {{ "{sys.executable}" -m olive_like "$@"; }}\n{text}\npwd > "{there}"'
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        self.folder = Path(there.read_text().strip())

    def environment(self) -> dict[str, str]:
        """The user's, in which the page's own package is installed."""
        return {**os.environ, "OLIVE_LIKE_CACHE": str(self.cache), "PYTHONPATH": str(self.place)}

    def _install(self, package: dict[str, Any]) -> None:
        """What `pip install .` would leave of the page's package."""
        project = package["project"]
        folder = self.place / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        lines = [
            line
            for group, points in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
        ]
        (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def _workflow(self, block: Block) -> None:
        workflow = whole(block.text)
        for step in passes_of(workflow):
            if "train_data_config" in step:
                step.get("training_args", {}).pop("num_train_epochs", None)
                step["max_steps"] = STEPS
        if "search_strategy" in workflow:
            workflow["search_strategy"]["max_samples"] = 2
        olive_like.run(workflow, in_process=True, cache_dir=self.cache, output_dir=block.name).raise_for_status()


def passes_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Every pass, alternatives included."""
    steps = workflow["passes"].values()
    return [one for step in steps for one in (step if isinstance(step, list) else [step]) if one]


def whole(text: str) -> dict[str, Any]:
    """A workflow of what may be a part of one: what a page left out as beside its point is filled in."""
    workflow: dict[str, Any] = loads(text, "block.yaml", "yaml").tree  # as files are read: 1e-5 is a number
    workflow.setdefault("input_model", {"type": "HfModel", "model_path": "quickstart/model"})
    if "metrics" in workflow:
        workflow["evaluators"] = {"own": {"metrics": workflow.pop("metrics")}}
        workflow["evaluator"] = "own"
    workflow.setdefault("passes", {"small": {"type": "Rtn", "group_size": 32}})
    rows = workflow.setdefault("data_configs", [])
    here = {one["name"] for one in rows}
    for name in dict.fromkeys(re.findall(r"data_config: (\w+)", text)):
        if name not in here:
            rows.append({"name": name, "source": "train.jsonl", "max_seq_len": 128})
    return workflow
