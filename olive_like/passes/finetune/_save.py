"""The artifact of a training: weights, tokenizer, what was done, a card. The same training gives the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from olive_like.artifacts import Adapter, Artifact, Dataset, HfModel
from olive_like.marks import semantic
from olive_like.passes.base import Context


def save_adapter(model: Any, output: Path, initial: Path | None = None, state: dict[str, Any] | None = None) -> None:
    """An adapter as peft writes it, without what changes from machine to machine; `state` where ranks share it."""
    options: dict[str, Any] = {"path_initial_model_for_weight_conversion": str(initial)} if initial else {}
    if state is not None:
        options["state_dict"] = state
    model.save_pretrained(output, safe_serialization=True, save_embedding_layers=False, **options)
    if initial is not None:
        shutil.rmtree(output / initial.name, ignore_errors=True)
        _complete(model, output / "adapter_model.safetensors")
    clean_config(output)


def _complete(model: Any, file: Path) -> None:
    """Add what is trained whole, a head say: peft leaves it out of an adapter that it turns into one of the base."""
    written = load_file(file)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    whole = {name: t.contiguous() for name, t in state.items() if name not in written and ".lora_" not in name}
    if whole:
        save_file(written | whole, file, metadata={"format": "pt"})


def clean_config(folder: Path) -> None:
    """Sets become sorted lists, and no path of this machine stays."""
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text("utf-8"))
    config["base_model_name_or_path"] = None
    config.pop("revision", None)
    for name in ("target_modules", "modules_to_save", "exclude_modules", "feedforward_modules"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def save_rest(
    output: Path,
    tokenizer: Any,
    method: str,
    config: Any,
    history: list[dict[str, float]],
    data: dict[str, Dataset],
    source: Artifact,
    context: Context,
    facts: dict[str, Any],
) -> None:
    """Tokenizer with its chat template, train.json, and the card."""
    tokenizer.save_pretrained(output)
    settings = {
        name: value for name, value in semantic(config).items() if name not in ("train_data_config", "eval_data_config")
    }
    train = {
        "method": method,
        "settings": settings,
        "seed": config.train_seed(context.seed),
        "base": source.digest,
        "data": {name: dataset.digest for name, dataset in data.items()},
        **facts,
        "history": history,
    }
    (output / "train.json").write_text(json.dumps(train, indent=2, sort_keys=True, default=str) + "\n", "utf-8")
    (output / "README.md").write_text(_card(method, train, facts), "utf-8")


def _card(method: str, train: dict[str, Any], facts: dict[str, Any]) -> str:
    losses = [entry for entry in train["history"] if "eval_loss" in entry]
    lines = [
        "---",
        "library_name: peft" if facts["adapter"] else "library_name: transformers",
        "tags: [olive-like]",
        "---",
        "",
        f"# {facts['architecture']}, trained with {method}",
        "",
        f"- task: {facts['task']}",
        f"- steps: {facts['steps']}",
        f"- trainable parameters: {facts['trainable']:,} of {facts['parameters']:,}",
        f"- numbers: {facts['dtype']}",
        f"- seed: {train['seed']}",
    ]
    if facts.get("train_loss") is not None:
        lines.append(f"- training loss: {facts['train_loss']:.4f}")
    if losses:
        lines.append(f"- evaluation loss: {losses[-1]['eval_loss']:.4f}")
    lines += ["", "`train.json` has every setting and the whole course of the losses.", ""]
    return "\n".join(lines)


def result(output: Path, source: HfModel | Adapter, attributes: dict[str, Any], adapter: bool) -> Artifact:
    """The artifact itself."""
    base = source.base if isinstance(source, Adapter) else source
    if adapter:
        return Adapter(output, attributes, refs={"base": base})
    kept = {name: value for name, value in base.attributes.items() if name == "load_kwargs"}
    return HfModel(output, kept | attributes)
