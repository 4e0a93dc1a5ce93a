"""onnxruntime-genai is an extra: whether it is there, and its configuration file."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from olive_like.errors import PassError

CONFIG_FILE = "genai_config.json"


def require_genai() -> None:
    """Stop with the way to get it where onnxruntime-genai is missing."""
    if find_spec("onnxruntime_genai") is None:
        raise PassError("onnxruntime-genai is not installed", "pip install 'olive-like[genai]'")


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's genai_config.json."""
    found: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    return found


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=4, ensure_ascii=False) + "\n", "utf-8")


def describe_decoder(config: dict[str, Any], io: dict[str, Any], file: str) -> None:
    """Make the decoder's section say what a graph really takes and gives."""
    inputs, outputs = ({value["name"] for value in io[side]} for side in ("inputs", "outputs"))
    decoder = config["model"]["decoder"]
    decoder["filename"] = file
    decoder["inputs"] = {name: name for name in ("input_ids", "attention_mask", "position_ids") if name in inputs} | {
        "past_key_names": "past_key_values.%d.key",
        "past_value_names": "past_key_values.%d.value",
    }
    decoder["outputs"] = {
        "logits": "logits",
        "present_key_names": "present.%d.key",
        "present_value_names": "present.%d.value",
    }
    missing = {"past_key_values.0.key"} - inputs | {"logits", "present.0.key"} - outputs
    if missing:
        raise PassError(
            f"{file} lacks {', '.join(sorted(missing))}, which onnxruntime-genai needs",
            "Export the model as text-generation with OnnxConversion.",
        )
