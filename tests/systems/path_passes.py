"""A pass that says where it read and wrote, brought as a third party's distribution would bring it."""

from __future__ import annotations

import json

from olive_like.artifacts import Artifact, NullArtifact
from olive_like.passes.base import Context, Pass, PassConfig
from olive_like.passes.fields import LocalPath


class Places(Pass):
    """Write down where everything is."""

    accepts = Artifact
    produces = NullArtifact
    traits = ()

    class Config(PassConfig):
        file: LocalPath

    def run(self, model: Artifact, config: Config, context: Context) -> NullArtifact:
        told = {
            "model": {str(path): path.read_text() for path in model.path.rglob("*") if path.is_file()},
            "base": str(model.refs["base"].path) if "base" in model.refs else None,
            "file": [str(config.file), config.file.read_text()],
            "output": str(context.output),
        }
        (context.output / "deep").mkdir()
        (context.output / "deep" / "told.json").write_text(json.dumps(told))
        (context.output / "large").write_bytes(b"x" * (17 << 20))
        context.metric("told", 1.0)
        return NullArtifact(context.output, {"said": "yes"}, refs={"base": model})
