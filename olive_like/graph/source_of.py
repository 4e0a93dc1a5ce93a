"""The workflow's input model in the terms of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from olive_like import artifacts
from olive_like.artifacts import Artifact
from olive_like.errors import OliveLikeError
from olive_like.graph import sources
from olive_like.graph.sources import SourceModel
from olive_like.workflow.models import CompositeModel, HfModel, InputModel, NullModel, OnnxModel, PyTorchModel


def kind_of(model: InputModel | None) -> type[Artifact] | None:
    """The kind of artifact that the input model is."""
    match model:
        case None:
            return None
        case HfModel(adapter_path=str()):
            return artifacts.Adapter
        case HfModel():
            return artifacts.HfModel
        case PyTorchModel():
            return artifacts.PyTorchModel
        case OnnxModel():
            return artifacts.OnnxModel
        case NullModel():
            return artifacts.NullArtifact
        case _:
            return artifacts.CompositeModel


def source_of(model: InputModel | None, base_dir: Path) -> SourceModel | None:
    """Where the input model is, and what of it can change a result."""
    match model:
        case None:
            return None
        case NullModel():
            return SourceModel(artifacts.NullArtifact, None, {"value": model.value}, {})
        case HfModel():
            base = sources.hf_model(
                model.model_path,
                model.folder(base_dir),
                _given(task=model.task, load_kwargs=model.load_kwargs, io_config=model.io_config,
                       revision=model.revision, model_loader=model.model_loader,
                       dummy_inputs_func=model.dummy_inputs_func),
                _code(model),
            )  # fmt: skip
            if model.adapter_path is None:
                return base
            return sources.adapter(model.adapter_path, model.adapter(base_dir), base, _given(task=model.task))
        case PyTorchModel():
            attributes = _given(task=model.task, io_config=model.io_config, model_loader=model.model_loader,
                                dummy_inputs_func=model.dummy_inputs_func)  # fmt: skip
            return sources.pytorch_model(
                model.folder(base_dir), model.model_script, attributes, _code(model), model.model_path or ""
            )
        case OnnxModel():
            path = model.folder(base_dir)
            attributes = _given(task=model.task, inference_settings=model.inference_settings)
            return sources.onnx_model(path, model.onnx_file_name, attributes, model.model_path)
        case CompositeModel():
            return _composite(model, base_dir)
        case _:
            raise TypeError(f"no source is made of a {type(model).__name__}")


def _composite(model: CompositeModel, base_dir: Path) -> SourceModel:
    """Parts in folders of their own, inside of the one that the model is."""
    folder = model.folder(base_dir)
    if folder is None:
        raise OliveLikeError("a CompositeModel is a folder with its components", "Name it with `model_path`.")
    listed: list[dict[str, Any]] = []
    for index, part in enumerate(model.model_components):
        found = source_of(part, folder)
        if found is None or found.path is None:  # it is not there
            return SourceModel(artifacts.CompositeModel, None, {}, {}, part.model_path or "")
        if not found.path.is_relative_to(folder) or found.path == folder:
            raise OliveLikeError(
                f"{found.path} is not below {folder}", "Put each component into a folder of its own in `model_path`."
            )
        place = found.path.relative_to(folder).as_posix()
        if any(place == other["path"] for other in listed):
            raise OliveLikeError(
                f"two components are in {found.path}",
                "Put each into a folder of its own, or name the folder as an OnnxModel.",
            )
        name = model.model_component_names[index] if model.model_component_names else place.replace("/", "_")
        kind, attributes = found.kind.kind, dict(found.attributes)
        listed.append({"name": name, "kind": kind, "path": place, "attributes": attributes})
    return SourceModel(artifacts.CompositeModel, folder, {"components": listed}, {}, model.model_path or "")


def _given(**values: Any) -> dict[str, Any]:
    """Only what is set: an attribute left out and one set to nothing are the same."""
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def _code(model: HfModel | PyTorchModel) -> dict[str, str]:
    """The user's code that builds the model."""
    paths = {"script": model.model_script, "script_dir": model.script_dir}
    return {name: str(path) for name, path in paths.items() if path is not None}
