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
            return self.transform(model, config, context)
        return self._each_component(model, config, context)

    @classmethod
    def available(cls) -> bool:
        return cls.transform is not OnnxPass.transform

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
        _copy_rest(model, context.output)
        return CompositeModel(context.output, {**model.attributes, "components": components})


def _copy_rest(model: CompositeModel, output: Path) -> None:
    """Copy what lies outside of the parts' folders (tokenizer, generation settings) beside the new parts."""
    parts = [model.path / part["path"] for part in model.attributes["components"]]
    for file in sorted(model.path.rglob("*")):
        if file.is_file() and not any(file.is_relative_to(part) for part in parts):
            target = output / file.relative_to(model.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
