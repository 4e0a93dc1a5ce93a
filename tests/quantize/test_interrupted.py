"""A calibrated quantiser that is killed goes on at the layer it had reached, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from tests.quantize.tools import calibration, report, run  # noqa: E402
from tests.tiny_models import as_artifact, tiny_llama  # noqa: E402

CHILD = """
import sys
from pathlib import Path
from olive_like.artifacts import Dataset, HfModel
from olive_like.passes import registry
from olive_like.passes.base import Context

model, text, where, name, group = sys.argv[1:]
where = Path(where)
(where / "out").mkdir(parents=True)
(where / "scratch").mkdir()

def emit(kind, values):
    if kind == "progress":
        print(values["step"], flush=True)

data = {"data_config": Dataset(Path(text), {"format": "tokenized", "kind": "lm"})}
cls = registry.load(name)
context = Context(where / "out", where / "scratch", data=data, emit=emit)
cls().apply([HfModel(Path(model))], cls.Config(**{group: 32}), context)
"""


@pytest.mark.parametrize(
    ("name", "group"),
    [("Gptq", "group_size"), ("AutoAWQQuantizer", "q_group_size"), ("LearnedRounding", "group_size")],
)
def test_killed_in_the_middle(name, group, tmp_path):
    model = tiny_llama(tmp_path / "model", num_hidden_layers=12)
    text = calibration(tmp_path / "text")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, model.path, text.path, tmp_path / "run", name, group],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 5:
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    shutil.rmtree(tmp_path / "run" / "out")  # a fresh staging folder, as the engine gives
    resumed, said = run(name, model, tmp_path / "run", text, **{group: 32})
    assert "going on at layer" in " ".join(said.texts("note"))
    assert said.steps()[0] >= 6
    undisturbed, _ = run(name, model, tmp_path / "whole", text, **{group: 32})
    assert as_artifact(resumed.path).digest == as_artifact(undisturbed.path).digest
    assert len(report(resumed)["layers"]) == 12 * 7


def test_what_was_damaged_meanwhile_is_not_believed(tmp_path):
    model = tiny_llama(tmp_path / "model", num_hidden_layers=3)
    text = calibration(tmp_path / "text")
    whole, _ = run("Gptq", model, tmp_path / "whole", text, group_size=32)
    scratch = tmp_path / "run" / "scratch"
    shutil.copytree(tmp_path / "whole" / "scratch", scratch)
    entries = json.loads((scratch / "journal.json").read_text())
    shard = scratch / entries[1]["shard"]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    again, said = run("Gptq", model, tmp_path / "run", text, group_size=32)
    assert "is damaged: starting again" in " ".join(said.texts("note"))
    assert as_artifact(again.path).digest == as_artifact(whole.path).digest
