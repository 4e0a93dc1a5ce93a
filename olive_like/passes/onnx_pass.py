"""How a pass from ONNX to ONNX meets a model of several parts: each part is transformed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from olive_like.artifacts import Artifact, CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes.base import Context, Pass


class OnnxPass(Pass):
    """Base of passes from ONNX to ONNX. A subclass has `transform` instead of `run`."""

    accepts: ClassVar[type[Artifact] | tuple[type[Artifact], ...]] = (OnnxModel, CompositeModel)
    produces: ClassVar[type[Artifact] | None] = None

    def transform(self, model: OnnxModel, config: Any, context: Context) -> OnnxModel:
        """Write the transformed model into `context.output`."""
        raise NotImplementedError

    def run(self, model: OnnxModel | CompositeModel, config: Any, context: Context) -> Artifact:
        if isinstance(model, OnnxModel):
            return (
                self._each_graph(model, config, context)
                if is_several(model)
                else self.transform(model, config, context)
            )
        return self._each_component(model, config, context)

    @classmethod
    def available(cls) -> bool:
        return cls.transform is not OnnxPass.transform

    def _each_graph(self, model: OnnxModel, config: Any, context: Context) -> OnnxModel:
        """Transform each of several graphs in one folder, an encoder's and a decoder's say."""
        attributes: dict[str, Any] = {}
        described: dict[str, Any] = {}
        for name, part in graphs_of(model).items():
            scratch = context.scratch / name
            scratch.mkdir(parents=True, exist_ok=True)
            own = config
            if getattr(config, "external_data_name", None):
                own = config.model_copy(update={"external_data_name": f"{name}.{config.external_data_name}"})
            after = self.transform(part, own, replace(context, scratch=scratch))
            attributes.update(after.attributes)
            described[name] = after.attributes.get("io")
        attributes.pop("siblings", None)
        kept = {key: model.attributes[key] for key in ("file", "components")}
        return OnnxModel(context.output, {**attributes, **kept, "io": described})

    def _each_component(self, model: CompositeModel, config: Any, context: Context) -> CompositeModel:
        components = []
        for part in model.attributes["components"]:
            if part["kind"] != OnnxModel.kind:
                raise PassError(
                    f"{type(self).__name__} takes onnx_model, but the part {part['name']!r} is {part['kind']}",
                    "Convert all parts to ONNX first.",
                )
            before = OnnxModel(model.path / part["path"], part["attributes"])
            output, scratch = context.output / part["path"], context.scratch / part["name"]
            output.mkdir(parents=True, exist_ok=True)
            scratch.mkdir(parents=True, exist_ok=True)
            after = self.transform(before, config, replace(context, output=output, scratch=scratch))
            components.append({**part, "attributes": dict(after.attributes)})
        copy_beside_parts(model, context.output)
        return CompositeModel(context.output, {**model.attributes, "components": components})


def is_several(model: OnnxModel) -> bool:
    """Whether a folder holds several graphs that belong together."""
    return bool(model.attributes.get("components"))


def graphs_of(model: OnnxModel) -> dict[str, OnnxModel]:
    """Each graph of a folder with several as a model of its own; `siblings` names all of them."""
    listed = model.attributes["components"]
    common = {key: value for key, value in model.attributes.items() if key != "components"}
    common["siblings"] = [entry["file"] for entry in listed]
    described = model.attributes.get("io", {})
    return {
        entry["name"]: OnnxModel(
            model.path, {**common, "file": entry["file"], "io": described.get(entry["name"])}, digest=model.digest
        )
        for entry in listed
    }


def copy_beside_parts(model: CompositeModel, output: Path) -> None:
    """Copy what lies outside of the parts' folders (tokenizer, generation settings) beside the new parts."""
    parts = [model.path / part["path"] for part in model.attributes["components"]]
    for file in sorted(model.path.rglob("*")):
        if file.is_file() and not any(file.is_relative_to(part) for part in parts):
            target = output / file.relative_to(model.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
