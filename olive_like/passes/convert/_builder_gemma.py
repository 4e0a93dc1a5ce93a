"""Gemma 3 for onnxruntime-genai's builder, which looks for its settings where transformers 4 had them."""

from __future__ import annotations

from typing import Any

from onnxruntime_genai.models.builders.gemma import Gemma3Model


class Gemma3(Gemma3Model):  # type: ignore[misc]
    """The builder's own class, given a config with rotary settings for one kind of layer and a base for the other."""

    def __init__(self, config: Any, *rest: Any) -> None:
        text = config.get_text_config()
        by_kind = getattr(text, "rope_parameters", None)
        if isinstance(by_kind, dict) and "full_attention" in by_kind:
            config.rope_local_base_freq = by_kind["sliding_attention"]["rope_theta"]
            text.rope_parameters = by_kind["full_attention"]
            text.rope_theta = by_kind["full_attention"]["rope_theta"]
        super().__init__(config, *rest)
