"""A search over passes that really make models: its best workflow alone, and trainings that are really stopped."""

from __future__ import annotations

import json

import pytest

import olive_like
from tests import tiny_models

pytestmark = pytest.mark.heavy

TIMING = {"warmup_num": 1, "repeat_test_num": 5}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    for index in range(6):
        (folder / f"LABEL_{index % 3}").mkdir(exist_ok=True)
        Image.effect_noise((32, 32), 40 + 10 * index).convert("RGB").save(
            folder / f"LABEL_{index % 3}" / f"{index}.png"
        )
    return folder


def test_the_best_alone_on_an_empty_cache_gives_the_same_models_and_metrics(pictures, tmp_path):
    model = tiny_models.tiny_vit(tmp_path / "model")
    speed = {"name": "latency", "type": "latency", "sub_types": [{"name": "p50", "metric_config": TIMING}]}
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(model.path)},
        "data_configs": [{"name": "pictures", "source": str(pictures)}],
        "evaluators": {"e": {"metrics": ["kl", "accuracy_score", "size_on_disk", speed], "data_config": "pictures"}},
        "evaluator": "e",
        "passes": {
            "export": {"type": "OnnxConversion"},
            "small": [
                {"type": "OnnxBlockWiseRtnQuantization", "bits": {"choice": [4, 8]}, "block_size": 32},
                {"type": "OnnxDynamicQuantization"},
                None,
            ],
        },
        "search_strategy": {"sampler": "grid", "constraints": [{"metric": "size_on_disk", "max": 300000}]},
    }
    found = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    assert [trial["status"] for trial in found.search["trials"]] == ["done", "done", "done", "infeasible"]
    best = found.search["trials"][found.search["best"]]
    alone = olive_like.run(tmp_path / "out" / "best.yaml", cache_dir=tmp_path / "empty", in_process=True)
    assert {one.status for one in alone.passes.values()} == {"ran"}
    assert alone.outputs["small"].digest == found.outputs["small"].digest
    measured = {name: entry["value"] for name, entry in alone.passes["small.metrics"].metrics.items()}
    measured.pop("latency-p50")
    assert measured == {name: best["values"][name] for name in measured}
    assert set(measured) == {"kl-kl", "accuracy_score-accuracy_score", "size_on_disk-bytes"}


def test_trainings_that_fall_behind_are_stopped(tmp_path):
    model = tiny_models.tiny_llama(tmp_path / "model", num_hidden_layers=1)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_models.CORPUS))
    rates = [1e-2, 1e-7, 2e-7, 3e-7, 4e-7, 5e-7]
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(model.path)},
        "data_configs": [{"name": "rows", "source": str(rows), "max_seq_len": 64}],
        "evaluators": {"e": {"metrics": ["loss"], "data_config": "rows"}},
        "evaluator": "e",
        "passes": {
            "lora": {"type": "LoRA", "r": 8, "train_data_config": "rows", "learning_rate": {"choice": rates},
                     "training_args": {"max_steps": 9, "logging_steps": 1, "lr_scheduler_type": "constant"}},
        },
        "search_strategy": {"sampler": "grid", "pruner": "hyperband", "prune_factor": 2},
    }  # fmt: skip
    found = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True)
    statuses = [trial["status"] for trial in found.search["trials"]]
    assert statuses[0] == "done"
    assert statuses.count("pruned") >= 2, statuses
    assert found.search["best"] == 0
    stopped = next(trial for trial in found.search["trials"] if trial["status"] == "pruned")
    assert "others had a lower loss" in stopped["why"][0]
