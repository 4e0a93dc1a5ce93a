"""The model that a workflow starts from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from olive_like.marks import NotInKey, ScriptPath
from olive_like.workflow.environment import Expands

Name = Annotated[str, Expands()]


class InputModel(BaseModel):
    """What all input models have."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), defer_build=True
    )

    type: ClassVar[str] = ""
    model_path: Name | None = None

    def folder(self, base_dir: Path) -> Path | None:
        """The local file or folder of the model; None: its path is the name of one on the hub."""
        return local_path(self.model_path, base_dir)


class HfModel(InputModel):
    """A Hugging Face model: a local folder or a name on the hub."""

    type: ClassVar[str] = "HfModel"
    model_path: Name = Field(..., description="A local folder, or a name on the hub.")
    task: str | None = Field(None, description="What it is for, `text-generation` say; default: from its config.")
    load_kwargs: dict[str, Any] = Field({}, description="Arguments of `from_pretrained`: dtype, trust_remote_code …")
    adapter_path: Name | None = Field(None, description="A peft adapter over the model: a local folder or a hub name.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    io_config: dict[str, Any] | str | None = Field(None, description="Inputs and outputs, or the function that says.")
    dummy_inputs_func: str | None = Field(None, description="Function of the script that makes inputs to trace with.")
    model_loader: str | None = Field(None, description="Function of the script that loads the model.")
    model_script: ScriptPath | None = Field(None, description="Python file with the functions named here.")
    script_dir: ScriptPath | None = Field(None, description="Folder that the script imports from.")

    def adapter(self, base_dir: Path) -> Path | None:
        """The local folder of the adapter, if there is one."""
        return local_path(self.adapter_path, base_dir)


class PyTorchModel(InputModel):
    """A model that a script of the user's builds."""

    type: ClassVar[str] = "PyTorchModel"
    model_path: Name | None = Field(None, description="Handed to the loader: a local file or folder, or a name.")
    model_script: ScriptPath | None = Field(None, description="Python file with the functions named here.")
    model_loader: str | None = Field(None, description="Function of the script that returns the model.")
    script_dir: ScriptPath | None = Field(None, description="Folder that the script imports from.")
    task: str | None = Field(None, description="What the model is for.")
    io_config: dict[str, Any] | str | None = Field(None, description="Inputs and outputs, or the function that says.")
    dummy_inputs_func: str | None = Field(None, description="Function of the script that makes inputs to trace with.")


class OnnxModel(InputModel):
    """An ONNX file, or a folder with one."""

    type: ClassVar[str] = "OnnxModel"
    model_path: Name = Field(..., description="The file, or the folder that holds it.")
    onnx_file_name: str | None = Field(None, description="Name of the file in the folder, where there are several.")
    task: str | None = Field(None, description="What the model is for.")
    inference_settings: dict[str, Any] = Field({}, description="Session options and providers for its evaluation.")


class CompositeModel(InputModel):
    """Several models that go together."""

    type: ClassVar[str] = "CompositeModel"
    model_path: Name | None = Field(None, description="The folder that the components' own are in.")
    model_components: list[SerializeAsAny[InputModel]] = Field(..., min_length=1, description="The models.")
    model_component_names: list[str] = Field([], description="Their names, in the same order; default: their folders'.")

    @model_validator(mode="after")
    def _named(self) -> CompositeModel:
        names = self.model_component_names
        if names and len(names) != len(self.model_components):
            raise ValueError(f"there are {len(names)} names for {len(self.model_components)} components")
        if len(set(names)) < len(names):
            raise ValueError("two components have one name")
        return self


class NullModel(InputModel):
    """The pretend model: no file, no weights."""

    type: ClassVar[str] = "Null"
    model_path: Annotated[str | None, NotInKey()] = Field(None, description="Has no effect.")
    value: str | int | float | bool | None = Field(None, description="Anything: changes the key.")


MODELS: dict[str, type[InputModel]] = {
    cls.type: cls for cls in (HfModel, PyTorchModel, OnnxModel, CompositeModel, NullModel)
}
_SPELLINGS = {name.lower(): name for name in MODELS}


def model_class(name: str) -> type[InputModel] | None:
    """The class of a model type, in any case."""
    return MODELS.get(_SPELLINGS.get(name.lower(), ""))


def local_path(name: str | None, base_dir: Path) -> Path | None:
    """What a name means on this machine: below `base_dir` first, then below the current folder.

    A name that can only be a path is one even if nothing is there; any other is a hub's.
    """
    if not name:
        return None
    path = Path(os.path.expanduser(name))
    if path.is_absolute():
        return path
    for place in (base_dir / path, Path.cwd() / path):
        if os.path.exists(place):  # unlike Path.exists, no exception for a name that is too long
            return place
    return base_dir / path if can_only_be_local(name) else None


def can_only_be_local(name: str) -> bool:
    """Whether a name cannot be one on the hub: `./x`, `a/b/c`, `x.onnx`."""
    return name.startswith((".", "~", "/")) or name.count("/") > 1 or name.endswith(("/", ".onnx"))
