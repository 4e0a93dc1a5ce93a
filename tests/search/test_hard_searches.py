"""Searches that are killed, that stop trainings, that leave passes out, and that are wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import olive_like
from olive_like.api import check
from olive_like.engine.cancel import CancelHandle, Interrupted
from olive_like.engine.worker_handle import WorkerHandle
from olive_like.graph.check_search import find
from olive_like.search._pruner import Pruner
from olive_like.search.space import at, dimensions, grid
from olive_like.workflow.moving import moved
from olive_like.workflow.read import read

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())"]
GRID = {
    "input_model": {"type": "Null"},
    "system": "null",
    "evaluators": {"e": {"metrics": ["size_on_disk"]}},
    "evaluator": "e",
    "passes": {
        "train": {"type": "Null", "bytes": {"choice": [10, 20, 30]}, "seconds": 0.1},
        "quantise": {"type": "Null", "value": {"choice": ["a", "b"]}, "seconds": 0.05},
        "block": {"type": "Null", "bytes": {"choice": [64, 16, 32, 128]}, "seconds": 0.05},
    },
    "search_strategy": {"sampler": "grid"},
}


def events_of(cache: Path, kind: str) -> list[dict]:
    lines = [line for file in sorted(cache.glob("runs/*/events.jsonl")) for line in file.read_text().splitlines()]
    return [event for line in lines if line.endswith("}") and (event := json.loads(line))["event"] == kind]


def test_killed_and_run_again_no_completed_pass_runs_twice(tmp_path):
    file, cache = tmp_path / "flow.json", tmp_path / "cache"
    file.write_text(json.dumps(GRID))
    arguments = ["run", str(file), "--cache-dir", str(cache), "--output-path", str(tmp_path / "out"), "--json"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while sum(e["pass"].startswith("block") for e in events_of(cache, "done")) < 11 and time.time() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = [event["key"] for event in events_of(cache, "done")]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["search"]["trials"]) == 24
    after = [event["key"] for event in events_of(cache, "done")]
    assert len(after) == len(set(after)), "a pass ran twice"
    assert set(before) <= set(after)
    assert len(after) >= 3 + 6 + 24


def test_the_best_alone_on_an_empty_cache_gives_the_same(tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "deep" / "out"
    result = olive_like.run(GRID, cache_dir=cache, output_dir=out, in_process=True)
    best = result.search["trials"][result.search["best"]]
    alone = olive_like.run(out / "best.yaml", cache_dir=tmp_path / "empty", in_process=True)
    assert alone.outputs["block"].digest == result.outputs["block"].digest
    measured = alone.passes["block.metrics"].metrics["size_on_disk-bytes"]["value"]
    assert measured == best["values"]["size_on_disk-bytes"] == 16
    assert (out / "trials.csv").read_text().count("\n") == 25


def test_paths_of_the_best_are_seen_from_where_it_lies(tmp_path):
    old, new = tmp_path / "project", tmp_path / "project" / "deep" / "out"
    (old / "models" / "tiny").mkdir(parents=True)
    (old / "rows.jsonl").write_text("")
    tree = {
        "input_model": {"type": "HfModel", "model_path": "models/tiny"},
        "data_configs": [{"name": "rows.jsonl", "source": "rows.jsonl", "files": {"train": "rows.jsonl", "x": "gone"}}],
        "output_dir": "deep/out",
        "passes": {"a": {"type": "LoRA", "target_modules": "models"}},
    }
    found = moved(tree, old, new)
    assert (new / found["input_model"]["model_path"]).resolve() == old / "models" / "tiny"
    assert (new / found["data_configs"][0]["source"]).resolve() == old / "rows.jsonl"
    assert (new / found["data_configs"][0]["files"]["train"]).resolve() == old / "rows.jsonl"
    assert found["data_configs"][0]["files"]["x"] == "gone"
    assert found["data_configs"][0]["name"] == "rows.jsonl"
    assert found["output_dir"] == "."
    assert found["passes"] == tree["passes"]


def test_every_file_that_a_setting_names_moves(tmp_path):
    old, new = tmp_path / "project", tmp_path / "out"
    (old / "parts").mkdir(parents=True)
    for name in ("mine.py", "zero.json", "cost.csv", "types.json"):
        (old / name).write_text("{}")
    tune = {"type": "LoRA", "train_data_config": "rows", "run_name": "mine.py", "init_adapter": "parts"}
    tree = {
        "input_model": {"type": "PyTorchModel", "model_script": "mine.py", "model_loader": "mine.py"},
        "data_configs": {"rows": {"user_script": "mine.py", "load_function": "rows"}},
        "systems": {"many": {"type": "deepspeed", "ds_config": "zero.json", "device": "cpu"}},
        "passes": {
            "text": {**tune, "loss": "mine.py:loss", "training_args": {"deepspeed": "zero.json"}},
            "parts": {**tune, "loss": {"script": "mine.py", "name": "loss"}},
            "split": {"type": "CaptureSplitInfo", "cost_model": "cost.csv"},
            "types": {"type": "MixedPrecisionOverrides", "overrides_config": "types.json"},
            "same": {"type": "OnnxDiscrepancyCheck", "reference_model_path": "parts"},
            "both": {"type": "MultiAdapterConversion", "adapters": {"a.b": "parts", "c": {"adapter_path": "parts"}}},
        },
    }
    found = moved(tree, old, new)
    steps = found["passes"]
    assert steps["text"]["loss"] == "../project/mine.py:loss"
    assert steps["text"]["training_args"]["deepspeed"] == "../project/zero.json"
    assert steps["text"]["init_adapter"] == "../project/parts"
    assert steps["text"]["run_name"] == "mine.py"  # text that looks like it
    assert steps["parts"]["loss"] == {"script": "../project/mine.py", "name": "loss"}
    assert steps["split"]["cost_model"] == "../project/cost.csv"
    assert steps["types"]["overrides_config"] == "../project/types.json"
    assert steps["same"]["reference_model_path"] == "../project/parts"
    assert steps["both"]["adapters"] == {"a.b": "../project/parts", "c": {"adapter_path": "../project/parts"}}
    assert found["systems"]["many"]["ds_config"] == "../project/zero.json"
    assert found["data_configs"]["rows"]["user_script"] == "../project/mine.py"
    model = found["input_model"]
    assert (model["model_script"], model["model_loader"]) == ("../project/mine.py", "mine.py")


@pytest.mark.parametrize("nothing", [None, {"type": "Skip"}])
def test_a_pass_may_be_left_out(tmp_path, nothing):
    flow = {
        **GRID,
        "passes": {
            "a": {"type": "Null", "bytes": 40},
            "b": [
                nothing,
                {"type": "Null", "bytes": {"choice": [20, 30]}},
                {"type": "Null", "bytes": 25, "input": "a"},
            ],
            "c": {"type": "Null", "bytes": 50},
        },
    }
    workflow = read(flow).require()
    dims = dimensions(workflow)
    trees = [at(workflow, dims, point) for point in grid(dims)]
    assert [tree["passes"].get("b", {}).get("bytes") for tree in trees] == [None, 20, 30, 25]
    result = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    assert len(result.search["trials"]) == 4
    assert {trial["status"] for trial in result.search["trials"]} == {"done"}


def test_what_is_left_out_is_followed_by_what_followed_it():
    flow = {
        **GRID,
        "passes": {
            "a": {"type": "Null"},
            "b": {"type": "Null"},
            "c": [None, {"type": "Null", "input": "a"}],
            "d": {"type": "Null"},
            "e": {"type": "Null", "inputs": ["c", "b"]},
        },
        "outputs": ["c", "e"],
    }
    workflow = read(flow).require()
    (without, _) = (at(workflow, dimensions(workflow), point) for point in grid(dimensions(workflow)))
    assert without["passes"]["d"] == {"type": "Null", "input": "a"}
    assert without["passes"]["e"]["inputs"] == ["a", "b"]
    assert without["outputs"] == {"c": "a", "e": "e"}


def test_leaving_everything_out_is_the_input_model_itself(tmp_path):
    flow = {**GRID, "passes": {"a": [None, {"type": "Null", "bytes": 5}]}}
    result = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    assert [trial["status"] for trial in result.search["trials"]] == ["done", "done"]


def test_goals_that_are_missed_rule_a_candidate_out(tmp_path):
    goal = {"name": "bytes", "goal": {"type": "threshold", "value": 20}}
    metric = {"name": "size", "type": "size_on_disk", "sub_types": [goal]}
    flow = {**GRID, "evaluators": {"e": {"metrics": [metric]}},
            "passes": {"a": {"type": "Null", "bytes": {"choice": [30, 20, 10]}}}}  # fmt: skip
    result = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    assert [trial["status"] for trial in result.search["trials"]] == ["infeasible", "done", "done"]
    strategy = {"sampler": "grid", "stop_when_goals_met": True}
    stopped = olive_like.run({**flow, "search_strategy": strategy}, cache_dir=tmp_path / "cache", in_process=True,
                             output_dir=tmp_path / "out")  # fmt: skip
    assert len(stopped.search["trials"]) == 2


def test_hyperband_stops_what_falls_behind_and_remembers_it(tmp_path):
    watching = Pruner(tmp_path, least=1, factor=3)
    stopped = {}
    for step in range(1, 28):
        for number in range(9):
            key = f"key{number}"
            if key in stopped:
                continue
            why = watching("lora", key, "progress", {"step": step, "total": 27, "loss": 1.0 + number / step})
            if why:
                stopped[key] = step
    assert stopped
    assert "key0" not in stopped
    assert min(stopped.values()) < 27
    again = Pruner(tmp_path, least=1, factor=3)
    first = next(iter(stopped))
    assert "stopped at step" in again("lora", first, "started", {})
    assert again("lora", "key0", "started", {}) is None


def test_a_stopped_training_is_a_pruned_candidate(tmp_path, monkeypatch):
    def watch(self, node, key, kind, values):
        if node.startswith("train#") and kind == "progress":
            self.pruned[key] = "stopped at step 1 of 2: others had a lower loss"
        return self.pruned.get(key)

    monkeypatch.setattr(Pruner, "__call__", watch)
    flow = {**GRID, "search_strategy": {"sampler": "grid", "pruner": "hyperband"},
            "passes": {"train": {"type": "Null", "seconds": 0.5, "bytes": {"choice": [10, 20]}},
                       "after": {"type": "Null", "bytes": 7}}}  # fmt: skip
    for in_process in (True, False):
        result = olive_like.run(
            flow, cache_dir=tmp_path / str(in_process), output_dir=tmp_path / "out", in_process=in_process
        )
        assert [trial["status"] for trial in result.search["trials"]] == ["done", "pruned"]
        assert "stopped at step 1 of 2" in result.search["trials"][1]["why"][0]


def test_workers_stay_from_batch_to_batch(tmp_path, monkeypatch):
    begun, start = [], WorkerHandle.start

    async def counted(self, log):
        begun.append(log)
        await start(self, log)

    monkeypatch.setattr(WorkerHandle, "start", counted)
    flow = {**GRID, "search_strategy": {"sampler": "tpe", "max_samples": 6, "seed": 1}}
    olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", jobs=1)
    logs = list((tmp_path / "cache" / "runs").iterdir())
    assert len(logs) > 2  # several batches, and the best
    assert len(begun) == 1


@pytest.mark.parametrize("after", [0, 12])
def test_a_search_that_is_told_to_stop(tmp_path, after):
    handle, done = CancelHandle(), []

    def listen(event):
        done.extend([event] if event["event"] == "done" else [])
        if event["event"] == "started" and len(done) >= after:
            handle.cancel("enough")

    flow = {**GRID, "search_strategy": {"sampler": "random", "max_samples": 8, "seed": 1, "max_time": 600}}
    try:
        result = olive_like.run(
            flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", on_event=listen, cancel=handle
        )
        ended = result.status
    except Interrupted as stop:
        ended = str(stop)
    assert ended in ("interrupted", "enough")
    again = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out")
    assert again.ok
    keys = [event["key"] for event in events_of(tmp_path / "cache", "done")]
    assert len(keys) == len(set(keys))


def test_no_candidate_is_begun_when_the_time_is_over(tmp_path):
    flow = {**GRID, "search_strategy": {"sampler": "grid", "max_time": 0.5}}
    result = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    assert result.ok
    assert 1 <= len(result.search["trials"]) < 24


def test_names_with_dashes_are_found():
    measured = ["map 50-95", "latency-cpu-avg", "latency-avg", "latency-p90"]
    assert find("latency", measured) == "latency-avg"
    assert find("latency.p90", measured) == "latency-p90"
    assert find("latency-cpu", measured) == "latency-cpu-avg"
    assert find("map 50-95", measured) == "map 50-95"
    assert find("map", measured) is None


def test_a_search_within_a_running_loop(tmp_path):
    flow = {**GRID, "search_strategy": {"sampler": "random", "max_samples": 2, "seed": 1}}

    async def main():
        return olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out")

    assert len(asyncio.run(main()).search["trials"]) == 2


WRONG = {
    "OL501": {"evaluators": {"e": {"metrics": [{"name": "m", "type": "latency", "sub_types": [{"name": "p42"}]}]}}},
    "OL502": {"search_strategy": {"sampler": "grid", "objectives": ["accuracy"]}},
    "OL504": {"search_strategy": {"constraints": [{"metric": "size_on_disk", "min": 9},
                                                  {"metric": "size_on_disk-bytes", "max": 5}]}},
    "OL505": {"evaluator": None, "evaluators": {}},
    "OL506": {"passes": {"a": {"type": "Null", "seconds": {"float": [0.1, 1.0]}}}},
    "OL507": {"data_configs": [{"name": "d", "source": "x.jsonl", "max_samples": {"choice": [1, 2]}}]},
    "OL111": {"passes": {"a": {"type": "Null", "bytes": {"choice": []}}}},
}  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_is_named_at_its_place(tmp_path, code):
    file = tmp_path / "flow.yaml"
    flow = {key: value for key, value in {**GRID, **WRONG[code]}.items() if value is not None}
    file.write_text(yaml.safe_dump(flow, sort_keys=False))
    found = [d for d in check(file, files=False).diagnostics if d.code == code]
    assert found, check(file, files=False).diagnostics
    assert found[0].line is not None
    assert found[0].hint or code == "OL111"


def test_a_reference_needs_an_input_model(tmp_path):
    metric = {"name": "m", "type": "accuracy", "sub_types": [{"name": "kl"}]}
    flow = {"passes": {"a": {"type": "Null"}}, "evaluators": {"e": {"metrics": [metric]}}, "evaluator": "e"}
    assert "OL503" in [d.code for d in check(flow).diagnostics]


def test_a_goal_against_the_input_model_has_it_measured(tmp_path):
    goal = {"type": "percent-max-degradation", "value": 5}
    metric = {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "goal": goal}]}
    model = tmp_path / "model"
    flow = {"input_model": {"type": "Null"}, "evaluators": {"e": {"metrics": [metric]}}, "evaluator": "e",
            "passes": {"a": {"type": "Null", "bytes": 10}}}  # fmt: skip
    result = olive_like.run(flow, cache_dir=model, output_dir=tmp_path / "out", in_process=True)
    assert "input_model.metrics" in result.passes
    assert not result.ok
    assert result.goals[0]["met"] is False


def test_the_guides_search_space_at_the_top(tmp_path):
    text = """
input_model: {type: HfModel, model_path: some/model, task: text-classification}
data_configs: [{name: rows, source: rows.jsonl}]
evaluators: {e: {metrics: [accuracy_score], data_config: rows}}
evaluator: e
passes: {lora: {type: LoRA, train_data_config: rows}}
search_space:
  lora_r: {type: int, low: 8, high: 64}
  learning_rate: {type: float, low: 1.0e-6, high: 1.0e-3, log: true}
search_strategy: {type: bayesian, num_trials: 5}
"""
    file = tmp_path / "flow.yaml"
    file.write_text(text)
    workflow = read(file).require()
    names = {dimension.name: dimension.space.kind for dimension in dimensions(workflow)}
    assert names == {"passes.lora.lora_r": "int", "passes.lora.learning_rate": "float"}
    assert workflow.search_strategy.sampler == "tpe"
    assert workflow.search_strategy.max_samples == 5
