"""A language model in which batch and number of new tokens are fixed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class StaticLLM(Pass):
    """Fix batch and new tokens of a decoder, as one graph for prompts and one for single tokens that share weights."""

    accepts = (OnnxModel, CompositeModel)
    produces = None
    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        batch_size: int = Field(1, ge=1, description="Sequences at once.")
        context_length: int = Field(64, ge=1, description="Tokens of a prompt that are read at once.")
        prefill_decode_models: bool = Field(
            True,
            description="A graph for prompts and one for single tokens, which share their weights; `false`: only the "
            "one for prompts. At a `context_length` of 1 both are the same, and there is one.",
        )
        group_session_options: dict[str, Any] | None = Field(
            None, description="Session options of these graphs in genai_config.json."
        )
        update_genai_config: bool = Field(
            False, description="Write genai_config.json anew where there is one graph too; of two it has to know."
        )

    def run(self, model: OnnxModel | CompositeModel, config: Config, context: Context) -> OnnxModel | CompositeModel:
        from olive_like.passes.onnx_graph._static_llm import fix

        return fix(model, config, context)
