"""One vector for each text, of what a model gives for its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.errors import PassError
from olive_like.passes.measure._runtimes import Arrays

_STATES = ("last_hidden_state", "hidden_states", "token_embeddings")
_WHOLE = ("sentence_embedding", "embeddings")  # made of all tokens already
_FLAG = "pooling_mode_"
_MODES = {"cls": "cls", "cls_token": "cls", "lasttoken": "lasttoken", "mean": "mean", "mean_tokens": "mean"}
_STAGES = ("Transformer", "Pooling", "Normalize")


def whole(outputs: Arrays) -> np.ndarray | None:
    """The texts' vectors, where the model makes them itself."""
    found = next((outputs[name] for name in _WHOLE if name in outputs), None)
    return None if found is None else found.astype(np.float64)


def pooled(outputs: Arrays, mask: np.ndarray, how: str) -> np.ndarray:
    """One vector for each text, of its tokens' vectors."""
    states = next((outputs[name] for name in _STATES if name in outputs), None)
    if states is None:
        raise PassError(
            f"the model gives {', '.join(outputs)}: none of them is a text's vector, or its tokens'",
            "Export it with the task feature-extraction; of the model builder's, with `include_hidden_states: 1`.",
        )
    states = states.astype(np.float64)
    if how == "cls":
        return states[:, 0]
    if how == "lasttoken":
        return states[np.arange(len(states)), mask.sum(-1) - 1]
    counted = mask[:, :, None].astype(np.float64)
    return (states * counted).sum(1) / counted.sum(1)


def pooling(folder: Path, config: dict[str, Any]) -> str:
    """How the model makes a vector of its tokens' vectors: its own word, else the last of a decoder, else the mean."""
    stages = read_json(folder / "modules.json") or []
    odd = [name for stage in stages if (name := stage["type"].rpartition(".")[2]) not in _STAGES]
    if odd:
        raise PassError(
            f"{folder.name} makes its vectors by {', '.join(odd)} too (modules.json), which is not done here",
            f"Models of {', '.join(_STAGES)} are measured, and graphs that give `sentence_embedding` themselves.",
        )
    where = next((stage["path"] for stage in stages if stage["type"].endswith(".Pooling")), "1_Pooling")
    modes = _said(read_json(folder / where / "config.json") or {})
    if len(modes) > 1 or not set(modes) <= set(_MODES):
        raise PassError(
            f"{folder.name} makes one vector of its tokens' by {' and '.join(modes)}, which is not done here",
            "One of mean, cls and lasttoken is.",
        )
    if modes:
        return _MODES[modes[0]]
    decoder = any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in config.get("architectures") or ())
    return "lasttoken" if decoder else "mean"


def _said(settings: dict[str, Any]) -> list[str]:
    """The ways that a config of sentence-transformers names, in its older form or its newer one."""
    mode = settings.get("pooling_mode")
    if mode:
        return [str(one) for one in (mode if isinstance(mode, list) else [mode])]
    return [name.removeprefix(_FLAG) for name, on in settings.items() if name.startswith(_FLAG) and on]


def read_json(file: Path) -> Any:
    """What a file says, None where there is none."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else None
