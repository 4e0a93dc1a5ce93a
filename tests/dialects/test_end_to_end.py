"""Files of Olive's dialect that run: two of the usual shapes, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import olive_like
from tests.tiny_models import CORPUS, tiny_bert, tiny_llama

pytestmark = pytest.mark.heavy

CPU = {"type": "LocalSystem", "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]}


def _run(folder: Path, workflow: dict[str, Any]) -> olive_like.RunResult:
    file = folder / "olive.json"
    file.write_text(json.dumps({**workflow, "cache_dir": "cache", "output_dir": "out", "log_severity_level": 1}))
    return olive_like.run(file)


def test_an_encoder_is_exported_quantised_and_measured(tmp_path: Path) -> None:
    tiny_bert(tmp_path / "bert")
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(CORPUS)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    data = {
        "name": "rows",
        "type": "HuggingfaceContainer",
        "load_dataset_config": {"type": "huggingface_dataset", "params": {"data_files": "rows.json", "split": "train"}},
        "pre_process_data_config": {"input_cols": ["text"], "label_col": "label", "max_length": 32, "max_samples": 6},
        "dataloader_config": {"batch_size": 1},
    }
    metrics = [
        {
            "name": "accuracy",
            "type": "accuracy",
            "backend": "huggingface_metrics",
            "data_config": "rows",
            "sub_types": [{"name": "accuracy", "priority": 1}],
        },
        {"name": "size", "type": "size_on_disk", "sub_types": ["bytes"]},
    ]
    result = _run(
        tmp_path,
        {
            "input_model": {"type": "HFModel", "config": {"model_path": "bert", "task": "text-classification"}},
            "systems": {"local_system": CPU},
            "data_configs": [data],
            "evaluators": {"common": {"metrics": metrics}},
            "passes": {
                "convert": {"type": "onnxconversion", "config": {"target_opset": 20}},
                "quantize": {"type": "OnnxStaticQuantization", "data_config": "rows", "activation_type": "uint8"},
            },
            "engine": {"target": "local_system", "evaluator": "common", "evaluate_input_model": True},
        },
    )
    assert result.ok
    assert (tmp_path / "out" / "provenance.json").is_file()
    assert (tmp_path / "out" / "model.onnx").is_file()
    found = result.passes["quantize.metrics"].metrics
    assert any("accuracy" in name for name in found)


def test_a_decoder_is_tuned_merged_and_rounded(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "llama")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in CORPUS))
    result = _run(
        tmp_path,
        {
            "input_model": {"type": "HfModel", "model_path": "llama"},
            "systems": {"local_system": CPU},
            "data_configs": [
                {
                    "name": "train_data",
                    "type": "HuggingfaceContainer",
                    "load_dataset_config": {"data_files": "rows.jsonl", "split": "train"},
                    "pre_process_data_config": {"text_cols": ["text"], "max_seq_len": 32, "strategy": "line-by-line"},
                }
            ],
            "passes": {
                "tune": {
                    "type": "lora",
                    "train_data_config": "train_data",
                    "r": 4,
                    "torch_dtype": "float32",
                    "training_args": {"max_steps": 2, "per_device_train_batch_size": 2},
                },
                "merge": {"type": "MergeAdapterWeights"},
                "round": {"type": "rtn", "bits": 4, "group_size": 32},
            },
            "search_strategy": False,
            "host": "local_system",
            "no_artifacts": True,
        },
    )
    assert result.ok
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["bits"] == 4
