"""A tiny model with random weights in place of a large one: to try a command in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.canonical import digest
from olive_like.cli.cache_root import cache_root
from olive_like.cli.silent import silent
from olive_like.errors import WorkflowError

_VERSION = 8
# Part of a hub name -> model type of transformers; the first that fits counts.
_FAMILIES = (
    ("llama", "llama"),
    ("smollm3", "smollm3"),
    ("smollm", "llama"),
    ("vicuna", "llama"),
    ("deepseek-r1-distill-qwen", "qwen2"),
    ("qwen2.5-vl", "qwen2_5_vl"),
    ("fara-7b", "qwen2_5_vl"),
    ("qwen3-vl", "qwen3_vl"),
    ("qwen3.5-35b", "qwen3_5_moe"),
    ("qwen3.5", "qwen3_5"),
    ("qwen3", "qwen3"),
    ("qwen", "qwen2"),
    ("phi-3", "phi3"),
    ("phi-4", "phi3"),
    ("phi", "phi"),
    ("ministral", "mistral"),
    ("mistral", "mistral"),
    ("mixtral", "mixtral"),
    ("translategemma", "gemma3"),
    ("gemma-3-1b", "gemma3_text"),
    ("gemma-3-", "gemma3"),
    ("gemma-2", "gemma2"),
    ("gemma", "gemma"),
    ("granite", "granite"),
    ("olmo-2", "olmo2"),
    ("olmo-3", "olmo3"),
    ("hy-mt", "hunyuan_v1_dense"),
    ("whisper", "whisper"),
    ("clip", "clip"),
    ("vit-", "vit"),
    ("resnet", "resnet"),
    ("gpt2", "gpt2"),
    ("dialogpt", "gpt2"),
    ("gpt-neox", "gpt_neox"),
    ("pythia", "gpt_neox"),
    ("opt-", "opt"),
    ("t5", "t5"),
    ("falcon", "falcon"),
    ("stablelm", "stablelm"),
    ("nemotron", "nemotron"),
    ("bart-", "bart"),
    ("albert", "albert"),
    ("electra", "electra"),
    ("mpnet", "mpnet"),
    ("deberta", "deberta-v2"),
    ("convnext", "convnext"),
    ("distilbert", "distilbert"),
    ("roberta", "roberta"),
    ("bert", "bert"),
    ("minilm", "bert"),
)


def tiny(name: str, task: str | None, cache_dir: str | None) -> Path:
    """The folder of a tiny model of the same architecture, made once and kept in the cache folder."""
    from olive_like.graph.sources import hub_snapshot

    found = Path(name) if Path(name).is_dir() else hub_snapshot(name)
    config = _config(found) if found else {"model_type": _family(name)}
    made_of = {"version": _VERSION, "config": config, "task": task, "tokenizer": str(found) if found else None}
    folder = cache_root(cache_dir) / "test-models" / digest(made_of)[:20]
    if not (folder / "config.json").is_file():
        with silent():
            from olive_like.cli import _test_model

            _test_model.make(config, found, task, folder)
    return folder


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError:
        raise WorkflowError(f"{folder} has no config.json to tell its architecture by") from None
    except ValueError as error:
        raise WorkflowError(f"{folder / 'config.json'} is not JSON: {error}") from None
    if "model_type" not in config:
        raise WorkflowError(f"{folder / 'config.json'} does not say its model_type")
    return config


def _family(name: str) -> str:
    for part, family in _FAMILIES:
        if part in name.lower():
            return family
    raise WorkflowError(
        f"the architecture of {name} cannot be told from its name, and it is not on this machine",
        "Name a local folder with its config.json.",
    )
