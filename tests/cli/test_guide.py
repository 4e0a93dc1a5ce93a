"""What people type who come from a fine-tuning guide of Olive's: each command and file as it stands.

Each runs in a folder that has small models and data under the names that it uses. Where a tiny model would still take
long, a flag at the end lowers the steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny_models import tiny_bert, tiny_gpt2, tiny_llama

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("guide"), pytest.mark.timeout(600)]

FINETUNE = r"""
# Basic fine-tuning command
olive finetune \
  --model_name_or_path meta-llama/Llama-3.2-1B-Instruct \
  --trust_remote_code \
  --output_path models/llama/ft \
  --data_name xxyyzzz/phrase_classification \
  --text_template "<|start_header_id|>user<|end_header_id|>\n{phrase}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n{tone}" \
  --method lora \
  --max_steps 100 \
  --log_level 1
"""  # noqa: E501
OPTIMIZE = r"""
# Convert to ONNX format for optimized inference
olive auto-opt \
  --model_name_or_path models/llama/ft/model \
  --adapter_path models/llama/ft/adapter \
  --device cpu \
  --provider CPUExecutionProvider \
  --use_ort_genai \
  --output_path models/llama/onnx \
  --log_level 1
"""
DATASET = """
[
  {
    "input": "What is machine learning?",
    "output": "Machine learning is a subset of artificial intelligence that enables computers to learn and improve from experience without being explicitly programmed."
  },
  {
    "input": "Explain neural networks",
    "output": "Neural networks are computing systems inspired by biological neural networks that learn from data through interconnected nodes or neurons."
  }
]
"""  # noqa: E501
WORKFLOW = r"""
# olive-config.yaml
model:
  type: PyTorchModel
  config:
    model_path: "microsoft/DialoGPT-medium"
    task: "text-generation"

data_configs:
  - name: "custom_dataset"
    type: "HuggingfaceContainer"
    load_dataset_config:
      data_files: "path/to/your/dataset.json"
      split: "train"
    pre_process_data_config:
      text_template: "User: {input}\nAssistant: {output}"

passes:
  lora:
    type: LoRA
    config:
      r: 16
      lora_alpha: 32
      target_modules: ["c_attn", "c_proj"]
      modules_to_save: ["ln_f", "lm_head"]
"""
RUN = """
# Run with custom configuration
olive run --config olive-config.yaml --setup
"""
QLORA = r"""
# Fine-tune with QLoRA for better memory efficiency
olive finetune \
  --method qlora \
  --model_name_or_path meta-llama/Meta-Llama-3-8B \
  --data_name nampdn-ai/tiny-codes \
  --train_split "train[:4096]" \
  --eval_split "train[4096:4224]" \
  --text_template "### Language: {programming_language} \n### Question: {prompt} \n### Answer: {response}" \
  --per_device_train_batch_size 16 \
  --per_device_eval_batch_size 16 \
  --max_steps 150 \
  --logging_steps 50 \
  --output_path adapters/tiny-codes
"""
CLASSIFIER = 'olive finetune --method lora --task_name "classification" --output_path adapters/classifier'
GENERATOR = 'olive finetune --method lora --task_name "generation" --output_path adapters/generator'
MULTI_ADAPTER = r"""
# Generate multi-adapter ONNX model
olive generate-adapter \
  --base_model_path models/base \
  --adapter_paths adapters/classifier,adapters/generator \
  --output_path models/multi-adapter
"""
SEARCH = """
# hyperparameter-search.yaml
search_strategy:
  type: "random"
  num_trials: 20

search_space:
  learning_rate:
    type: "float"
    low: 1e-6
    high: 1e-3
    log: true
  
  lora_r:
    type: "int"
    low: 8
    high: 64
  
  batch_size:
    type: "choice"
    values: [8, 16, 32]
"""  # noqa: W293
LOSS = """
# custom_loss.py
import torch
import torch.nn as nn

class CustomContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super(CustomContrastiveLoss, self).__init__()
        self.margin = margin
        
    def forward(self, output1, output2, label):
        euclidean_distance = nn.functional.pairwise_distance(output1, output2)
        loss_contrastive = torch.mean((1-label) * torch.pow(euclidean_distance, 2) +
                                    (label) * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2))
        return loss_contrastive
"""  # noqa: W293
LOGGING = r"""
# Enable detailed logging
olive finetune \
  --logging_steps 10 \
  --eval_steps 50 \
  --save_steps 100 \
  --logging_dir ./logs \
  --report_to tensorboard
"""
REGULARIZED = """
# Regularization techniques
passes:
  lora:
    type: LoRA
    config:
      r: 16  # Reduce rank to prevent overfitting
      lora_alpha: 16  # Lower alpha value
      lora_dropout: 0.1  # Add dropout
      weight_decay: 0.01  # L2 regularization
"""
LITTLE_MEMORY = r"""
# Memory-efficient training
olive finetune \
  --method qlora \
  --gradient_checkpointing true \
  --per_device_train_batch_size 1 \
  --gradient_accumulation_steps 16
"""
FAST = """
# Performance optimization
training_config:
  fp16: true  # Mixed precision
  dataloader_num_workers: 4
  optim: "adamw_torch"
  lr_scheduler_type: "cosine"
"""

PHRASES = "-m models/base -d xxyyzzz/phrase_classification"
TEMPLATE = "--text_template '{phrase}: {tone}'"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as somebody has it who works offline: hub names are folders."""
    root = tmp_path_factory.mktemp("place")
    tiny_llama(root / "meta-llama/Llama-3.2-1B-Instruct")
    tiny_llama(root / "meta-llama/Meta-Llama-3-8B", seed=1)
    tiny_llama(root / "models/base", seed=2)
    tiny_gpt2(root / "microsoft/DialoGPT-medium")
    tones = ["joy", "fear", "anger", "love"]
    _rows(root / "xxyyzzz/phrase_classification/train.jsonl",
          [{"phrase": f"phrase number {i} is here", "tone": tones[i % 4]} for i in range(40)])  # fmt: skip
    _rows(root / "nampdn-ai/tiny-codes/train.jsonl",
          [{"programming_language": "C", "prompt": f"p {i}", "response": f"r {i}"} for i in range(4300)])  # fmt: skip
    (root / "path/to/your").mkdir(parents=True)
    (root / "path/to/your/dataset.json").write_text(DATASET)
    (root / "olive-config.yaml").write_text(WORKFLOW)
    return root


def _rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def typed(place: Path, text: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """What a shell makes of a block, with our command for `olive`; `more` is written behind it."""
    home = place / "home"
    script = f'olive() {{ "{sys.executable}" -m olive_like "$@"; }}\n{text.strip()} {more}'
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_", "OLIVE_"))}
    environment = {**keep, "HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(["bash", "-c", script], cwd=place, env=environment, capture_output=True, text=True)


def works(place: Path, text: str, more: str = "") -> str:
    done = typed(place, text, more)
    assert done.returncode == 0, f"{text} {more}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def result(place: Path, text: str, more: str = "") -> dict[str, Any]:
    made: dict[str, Any] = json.loads(works(place, text, f"{more} --json"))
    return made


def statuses(made: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["status"] for one in made["passes"]}


def fails(place: Path, text: str, *words: str, more: str = "", code: int = 2) -> None:
    """Exit code, one line first that has the words, and no traceback."""
    done = typed(place, text, more)
    first = (done.stderr or done.stdout).splitlines()[0]
    assert done.returncode == code, done.stderr
    assert first.startswith("error: "), done.stderr
    assert all(word in first for word in words), first
    assert "Traceback" not in done.stderr + done.stdout


def test_1_and_2_finetune_then_optimise(place: Path) -> None:
    tuned = result(place, FINETUNE, "--max_steps 3")
    assert statuses(tuned) == {"tune.train_data": "ran", "tune": "ran"}
    folder = place / "models/llama/ft"
    assert (folder / "model/config.json").is_file()
    assert json.loads((folder / "adapter/adapter_config.json").read_text())["peft_type"] == "LORA"

    # Written as a workflow, it is the same: every key is known.
    works(place, FINETUNE, "--max_steps 3 --output_path written --dry_run")
    assert yaml.safe_load((place / "written/workflow.yaml").read_text())["passes"]["tune"]["max_steps"] == 3
    planned = json.loads(works(place, "olive plan written/workflow.yaml --json"))
    assert {node["status"] for node in planned["nodes"]} == {"hit"}

    works(place, OPTIMIZE)
    made = place / "models/llama/onnx"
    assert (made / "genai_config.json").is_file()
    assert list(made.glob("*.onnx"))
    assert works(place, "olive chat models/llama/onnx", "'Say a word' --max-new-tokens 3").strip() is not None


def test_3_to_5_a_workflow_on_own_data(place: Path) -> None:
    """Run, run again, run after a touch, run after one line of the data is another."""
    first = result(place, RUN)
    assert statuses(first) == {"lora.train_data": "ran", "lora": "ran"}
    settings = json.loads((Path(first["outputs"]["lora"]["path"]) / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (16, 32)
    assert settings["modules_to_save"] == ["lm_head", "ln_f"]

    data = place / "path/to/your/dataset.json"
    os.utime(data, (1, 1))
    assert set(statuses(result(place, RUN)).values()) == {"hit"}
    data.write_text(data.read_text().replace("Explain neural networks", "Explain networks of neurons"))
    assert set(statuses(result(place, RUN)).values()) == {"ran"}


def test_6_qlora_with_splits(place: Path) -> None:
    works(place, QLORA, "--max_steps 2 --per_device_train_batch_size 2 --eval_strategy epoch")
    story = json.loads((place / "adapters/tiny-codes/adapter/train.json").read_text())
    assert story["method"] == "qlora"
    assert story["settings"]["max_steps"] == 2
    assert any("eval_loss" in entry for entry in story["history"])


def test_7_several_adapters_one_onnx_model(place: Path) -> None:
    fails(place, CLASSIFIER, "--model_name_or_path and --data_name are missing")
    fails(place, MULTI_ADAPTER, "there is no folder adapters/classifier")
    works(place, CLASSIFIER, f"{PHRASES} --input_cols phrase --label_cols tone --max_steps 2")
    works(place, GENERATOR, f"{PHRASES} {TEMPLATE} --max_steps 2")
    works(place, MULTI_ADAPTER)
    made = place / "models/multi-adapter"
    assert {file.stem for file in made.glob("*.onnx_adapter")} == {"classifier", "generator"}
    attributes = json.loads((made / "provenance.json").read_text())["artifact"]["attributes"]
    assert attributes["classifiers"] == {"classifier": 4}
    assert attributes["verified"]["max_diff_below"] <= 1e-4

    # The same matrices by the way that needs no base.
    works(place, "olive convert-adapters", "-a adapters/generator -o alone.onnx_adapter")
    from olive_like.passes._adapter_files import read_adapter

    alone, together = read_adapter(place / "alone.onnx_adapter"), read_adapter(made / "generator.onnx_adapter")
    assert list(alone) == list(together)
    assert all(abs(alone[name] - together[name]).max() < 1e-6 for name in alone)


def test_8_a_search(place: Path) -> None:
    (place / "search.yaml").write_text(WORKFLOW + SEARCH)
    assert "a search needs an evaluator" in typed(place, "olive check search.yaml").stdout
    judged = "evaluators: {q: {data_config: custom_dataset, metrics: [perplexity]}}\nevaluator: q\n"
    (place / "search.yaml").write_text(WORKFLOW + SEARCH + judged)
    works(place, "olive check search.yaml")
    made = result(place, "olive run search.yaml", "--set search_strategy.num_trials=2 --set passes.lora.max_steps=1")
    assert len(made["search"]["trials"]) == 2


def test_9_a_loss_of_ones_own(place: Path) -> None:
    (place / "custom_loss.py").write_text(LOSS)
    tiny_bert(place / "models/encoder", labels=None)
    _rows(place / "pairs/train.jsonl",
          [{"sentence1": f"a {i}", "sentence2": f"b {i}", "label": i % 2} for i in range(16)])  # fmt: skip
    loss = "--loss custom_loss.py:CustomContrastiveLoss"
    works(place, "olive finetune", f"-m models/encoder -d pairs {loss} --max_steps 1 --output_path contrasted")
    assert (place / "contrasted/adapter/adapter_config.json").is_file()


def test_10_and_12_what_is_missing_is_named(place: Path) -> None:
    for text in (LOGGING, LITTLE_MEMORY):
        fails(place, text, "--model_name_or_path and --data_name are missing")
    fails(place, LOGGING, "--data_name is missing", more="-m models/base")


def test_10_tensorboard(place: Path) -> None:
    works(place, LOGGING, f"{PHRASES} {TEMPLATE} --max_steps 2 --output_path logged")
    assert list((place / "logs").rglob("events.out.tfevents*"))


def test_12_little_memory(place: Path) -> None:
    works(place, LITTLE_MEMORY, f"{PHRASES} {TEMPLATE} --max_steps 1 --output_path little")
    settings = json.loads((place / "little/adapter/train.json").read_text())["settings"]
    assert (settings["gradient_checkpointing"], settings["gradient_accumulation_steps"]) == (True, 16)
    assert settings["per_device_train_batch_size"] == 1


def test_11_and_13_settings_of_a_workflow(place: Path) -> None:
    before = WORKFLOW[: WORKFLOW.index("passes:")]
    (place / "settings.yaml").write_text(before + REGULARIZED + FAST)
    made = result(place, "olive run settings.yaml", "--output_path settings --set passes.lora.max_steps=1")
    story = json.loads((Path(made["outputs"]["lora"]["path"]) / "train.json").read_text())
    wanted = {"r": 16, "alpha": 16, "lora_dropout": 0.1, "weight_decay": 0.01, "fp16": True, "optim": "adamw_torch",
              "lr_scheduler_type": "cosine"}  # fmt: skip
    assert {name: story["settings"][name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("olive finetune --learning_rat 1", ["--learning", "there is no flag"]),
        ("olive finetune -m models/base -d nowhere/data.json", ["nowhere/data.json"]),
        ("olive finetune -m ./nowhere -d xxyyzzz/phrase_classification", ["nowhere"]),
        ("olive finetune -m models/base -d xxyyzzz/phrase_classification --learning_rate fast", ["learning_rate"]),
        ("olive finetune -m models/base -d xxyyzzz/phrase_classification --push_to_hub true", ["push_to_hub"]),
        ("olive finetune -m models/base -d xxyyzzz/phrase_classification --trust_remote_code maybe", ["true or false"]),
        ("olive auto-opt --model_name_or_path ./nowhere", ["nowhere"]),
        ("olive quantize -m ./nowhere", ["nowhere"]),
        ("olive quantize --algorithm gptp", ["gptp"]),
        ("olive capture-onnx-graph -m ./nowhere", ["nowhere"]),
        ("olive generate-adapter", ["--base_model_path is missing"]),
        ("olive generate-adapter --base_model_path models/base --adapter_paths models/base", ["no adapter"]),
        ("olive extract-adapters -m models/base -f safetensors", ["no LoRA weights"]),
        ("olive convert-adapters -a models/base -o x", ["no adapter"]),
        ("olive run-pass", ["--pass_name is missing"]),
        ("olive run-pass --pass-name Lora2 -m models/base", ["Lora2"]),
        ("olive tune-session-params -m ./nowhere.onnx", ["nowhere.onnx"]),
        ("olive run", ["name one workflow file"]),
        ("olive run nowhere.yaml", ["nowhere.yaml"]),
        ("olive run olive-config.yaml --package-config x.json", ["--package-config"]),
        ("olive init < /dev/null", ["nobody to ask"]),
        ("olive init -m models/base --method lora", ["--data_name is missing"]),
        ("olive fintune", ["fintune"]),
        ("olive chat nowhere", ["nowhere"]),
        ("olive workflows show nothing", ["nothing"]),
    ],
)
def test_failures_are_one_clear_line(place: Path, text: str, words: list[str]) -> None:
    done = typed(place, text)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    first = next(line for line in lines if "error" in line)
    assert lines.index(first) == 0, done.stderr
    assert all(word in first for word in words), first


def test_debug_shows_where_it_came_from(place: Path) -> None:
    done = typed(place, "olive run nowhere.yaml --debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
