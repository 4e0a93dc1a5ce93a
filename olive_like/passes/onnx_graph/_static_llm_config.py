"""What onnxruntime-genai has to know of graphs that take a fixed number of tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import components, describe_io, load_proto

_FILE = "genai_config.json"
_LENGTHS = {"past_sequence_length": "past_seq_len", "total_sequence_length": "total_seq_len"}


def describe(folder: Path, parts: Sequence[tuple[str, OnnxModel]], config: Any) -> None:
    """Write the parts as a pipeline into the folder's configuration, if it has one."""
    place = folder / _FILE
    several = len(parts) > 1 or any(len(components(model)) > 1 for _, model in parts)
    if not place.is_file() or not (several or config.update_genai_config):
        return
    settings: dict[str, Any] = json.loads(place.read_text("utf-8"))
    decoder = settings["model"]["decoder"]
    stages: dict[str, Any] = {}
    for number, (inside, model) in enumerate(parts):
        for name, path in components(model).items():
            key = "_".join(filter(None, (inside.replace("/", "_"), name)))
            stages[key] = _stage(Path(inside) / path.name, path, name, config)
            if number and number == len(parts) - 1 and "logits" in stages[key]["outputs"] and name == "model":
                stages[key]["is_lm_head"] = True
    taken = {name for stage in stages.values() for name in stage["inputs"]}
    decoder.pop("filename", None)
    decoder["pipeline"] = [stages]
    decoder["sliding_window"] = {
        "window_size": config.context_length,
        "pad_value": 0,
        "alignment": "left",
        "slide_key_value_cache": False,
    }
    decoder["inputs"] = {
        **{key: name for key, name in decoder["inputs"].items() if "%d" in name or name in taken},
        **{key: name for key, name in _LENGTHS.items() if name in taken},
    }
    settings["model"]["type"] = "decoder-pipeline"
    settings["search"]["past_present_share_buffer"] = True
    place.write_text(json.dumps(settings, indent=4, ensure_ascii=False) + "\n", "utf-8")


def _stage(file: Path, path: Path, name: str, config: Any) -> dict[str, Any]:
    io = describe_io(load_proto(path))
    stage: dict[str, Any] = {
        "filename": file.as_posix(),
        "inputs": [value["name"] for value in io["inputs"]],
        "outputs": [value["name"] for value in io["outputs"]],
    }
    if config.group_session_options and name in ("context", "iterator"):
        stage["session_options"] = config.group_session_options
    if name == "context":
        stage["run_on_token_gen"] = False
    elif name == "iterator":
        stage["run_on_prompt"] = False
    return stage
