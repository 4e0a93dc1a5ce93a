"""Talking to a model through its chat template, with any runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.base import Context
from olive_like.passes.measure._runtimes import open_runtime, stop_tokens


class Chat:
    """A talk: the model, and what was said so far."""

    def __init__(
        self,
        folder: Path,
        base: Path | None,
        system: str | None,
        new_tokens: int,
        raw: bool,
        adapter: str | None = None,
    ) -> None:
        quiet()
        model = artifact_of(folder, base)
        if adapter:
            model = _with_adapter(model, adapter)
        self._tokenizer: Any = load_tokenizer(model)
        self._runtime = open_runtime(model, Context(folder, folder, threads=_threads()), "text-generation")
        self._stop = stop_tokens(folder, self._tokenizer)
        self._said: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self._new_tokens = new_tokens
        self._raw = raw or not getattr(self._tokenizer, "chat_template", None)

    def answer(self, text: str) -> str:
        """What the model says to that."""
        if self._raw:
            prompt = self._tokenizer(text)["input_ids"]
        else:
            self._said.append({"role": "user", "content": text})
            rendered = self._tokenizer.apply_chat_template(self._said, tokenize=False, add_generation_prompt=True)
            prompt = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        tokens = [t for t in self._runtime.generate(prompt, self._new_tokens, self._stop) if t not in self._stop]
        answer = str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        self._said.append({"role": "assistant", "content": answer})
        return answer


def _with_adapter(model: Artifact, adapter: str) -> OnnxModel:
    if not isinstance(model, OnnxModel):
        raise PassError(
            f"{model.path} is no ONNX model with adapters to switch",
            "The folder of an adapter can be talked to itself.",
        )
    return OnnxModel(model.path, {**model.attributes, "active_adapter": adapter}, digest=model.digest)


def artifact_of(folder: Path, base: Path | None = None) -> Artifact:
    """What a folder is, by the files in it and the provenance beside them."""
    story = _story(folder)
    if (folder / "adapter_config.json").exists():
        under = base or _base_of(story, folder)
        return Adapter(folder, {}, {"base": HfModel(under)})
    graphs = sorted(folder.glob("*.onnx"))
    if graphs:
        attributes = story.get("artifact", {}).get("attributes") or {"file": graphs[0].name}
        return OnnxModel(folder, attributes)
    if (folder / "config.json").exists():
        return HfModel(folder, {})
    raise PassError(f"{folder} is no model: it has neither config.json nor an ONNX file")


def _base_of(story: dict[str, Any], folder: Path) -> Path:
    path = story.get("artifact", {}).get("refs", {}).get("base", {}).get("path")
    beside = folder.parent / "model"
    found = next((p for p in (Path(path) if path else None, beside) if p is not None and p.is_dir()), None)
    if found is None:
        raise PassError(f"the adapter {folder} does not say where its model is", "Name it with --base.")
    return found


def _story(folder: Path) -> dict[str, Any]:
    file = folder / "provenance.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def _threads() -> int:
    from olive_like.systems.machine import this_machine

    return this_machine().threads(1)
