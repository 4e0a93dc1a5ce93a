"""Several adapters over one base, in one ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.convert.memory import export_memory
from olive_like.passes.convert.onnx_conversion import OnnxConversion
from olive_like.passes.fields import LocalPath


class AdapterFolder(BaseModel):
    """A peft adapter on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter_path: LocalPath = Field(description="Its folder.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"adapter_path": value} if isinstance(value, str) else value


class MultiAdapterConversion(Pass):
    """Export a base once, with the matrices of several LoRA adapters as inputs, and a file for each adapter.

    The inputs are adapters over one base, made by passes before this one; or a base model, and adapters named
    in `adapters`. Each adapter becomes a file that onnxruntime switches on for a request; without one the graph
    is the base model.
    """

    accepts = (HfModel, Adapter)
    produces = OnnxModel
    arity = (1, None)
    tools = ("onnx", "onnx-ir", "onnxruntime", "onnxscript", "peft", "torch", "transformers")
    version = OnnxConversion.version
    seeded = False
    traits = ()

    class Config(OnnxConversion.Config):
        adapters: dict[str, AdapterFolder] = Field({}, description="Name → folder of an adapter over the base.")
        names: list[str] = Field([], description="Names of the adapters that are inputs, in their order.")
        save_format: Literal["pt", "numpy", "safetensors", "onnx_adapter"] = Field(
            "onnx_adapter", description="Format of the adapters' files (`pt`, a pickle, is refused)."
        )
        optional_inputs: bool = Field(True, description="A request may leave the adapter out.")
        dynamic_lora_r: bool = Field(
            True, description="Each adapter keeps its own rank; otherwise all get the largest, filled with zeros."
        )
        merge_adapter_weights: Literal[False] = Field(False, description="Adapters stay apart here.")

        @field_validator("names")
        @classmethod
        def _different(cls, names: list[str]) -> list[str]:
            if len(set(names)) < len(names):
                raise ValueError("two adapters have one name")
            return names

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        found = OnnxConversion.problems(config, kinds)
        adapters = sum(kind is Adapter for kind in kinds)
        odd = next((name for name in (*config.adapters, *config.names) if not _is_file_name(name)), None)
        if odd is not None:
            found.append(f"{odd!r} cannot be the name of an adapter's file: use letters, digits, _, - and .")
        if config.names and len(config.names) != adapters:
            found.append(f"names has {len(config.names)} names, but {adapters} of the inputs are adapters")
        if both := sorted(set(config.names) & set(config.adapters)):
            found.append(f"two adapters have the name {both[0]}")
        if not adapters and not config.adapters:
            found.append("there is no adapter: name some in `adapters`, or give adapters as inputs")
        if config.save_format == "pt":
            found.append("save_format: a .pt file is a pickle and is not written; use onnx_adapter or safetensors")
        return found

    @classmethod
    def memory_estimate(cls, inputs: Sequence[Artifact], config: Any) -> int | None:
        return export_memory(inputs[:1], config.torch_dtype)

    def run(self, models: list[HfModel | Adapter], config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.convert._multi_adapter import convert

        return convert(models, config, context)


def _is_file_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and all(c.isalnum() or c in "_-." for c in name)
