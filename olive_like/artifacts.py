"""What passes take and give: immutable folders of a known kind, named by the digest of their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from olive_like.canonical import digest as canonical_digest


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact."""

    path: str  # relative, with forward slashes
    size: int
    digest: str
    executable: bool = False


@dataclass(frozen=True)
class Artifact:
    """An immutable folder (or single file) with a kind, attributes and, once sealed, a digest.

    `attributes` is small JSON data that the next pass needs (task, file names, precision …).
    `refs` names other artifacts that this one stands on without copying them (an adapter's base).
    """

    path: Path
    attributes: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, Artifact] = field(default_factory=dict)
    digest: str | None = None

    kind: ClassVar[str] = "artifact"


# The kinds below add no fields: what `dataclass` made of Artifact serves them too, and costs nothing again.


class HfModel(Artifact):
    """A Hugging Face model folder: config, safetensors, tokenizer. Attributes: `task`, `load_kwargs`."""

    kind: ClassVar[str] = "hf_model"

    @property
    def task(self) -> str | None:
        return self.attributes.get("task")

    @property
    def load_kwargs(self) -> dict[str, Any]:
        return dict(self.attributes.get("load_kwargs") or {})


class Adapter(Artifact):
    """A peft adapter folder that stands on the model `refs["base"]`."""

    kind: ClassVar[str] = "adapter"

    @property
    def base(self) -> HfModel:
        base = self.refs["base"]
        assert isinstance(base, HfModel)
        return base

    @property
    def task(self) -> str | None:
        return self.attributes.get("task") or self.base.task


class PyTorchModel(Artifact):
    """A model that the user's own script builds. Attributes: `script`, `loader`, `io_config`, …"""

    kind: ClassVar[str] = "pytorch_model"


class OnnxModel(Artifact):
    """A folder with an ONNX graph, its external data and whatever goes with it (tokenizer, genai_config)."""

    kind: ClassVar[str] = "onnx_model"

    @property
    def file(self) -> Path:
        return self.path / str(self.attributes.get("file", "model.onnx"))

    @property
    def is_genai(self) -> bool:
        """Whether onnxruntime-genai can load the folder."""
        return bool(self.attributes.get("genai", False))


class CompositeModel(Artifact):
    """Several models in one folder. Attributes: `components`, a list of {name, kind, path, attributes}."""

    kind: ClassVar[str] = "composite_model"


class Dataset(Artifact):
    """Prepared data. Attributes: `format` and what its reader needs."""

    kind: ClassVar[str] = "dataset"


class Metrics(Artifact):
    """A folder with `metrics.json`: name -> {value, unit, higher_is_better, …}."""

    kind: ClassVar[str] = "metrics"


class NullArtifact(Artifact):
    """What the pretend passes make."""

    kind: ClassVar[str] = "null"


KINDS: dict[str, type[Artifact]] = {
    cls.kind: cls
    for cls in (
        Artifact, HfModel, Adapter, PyTorchModel, OnnxModel, CompositeModel, Dataset, Metrics, NullArtifact,
    )
}  # fmt: skip


def artifact_digest(
    kind: str,
    attributes: Mapping[str, Any],
    refs: Mapping[str, str],
    files: list[FileEntry],
) -> str:
    """The identity of an artifact: its kind, attributes, what it stands on, and every file in it."""
    return canonical_digest(
        {
            "kind": kind,
            "attributes": dict(attributes),
            "refs": dict(refs),
            "files": [[f.path, f.size, f.digest, f.executable] for f in sorted(files, key=lambda f: f.path)],
        }
    )


def to_json(artifact: Artifact) -> dict[str, Any]:
    """The form in which an artifact travels between processes."""
    return {
        "kind": artifact.kind,
        "path": str(artifact.path),
        "attributes": dict(artifact.attributes),
        "refs": {name: to_json(ref) for name, ref in artifact.refs.items()},
        "digest": artifact.digest,
    }


def from_json(data: Mapping[str, Any]) -> Artifact:
    return KINDS[data["kind"]](
        path=Path(data["path"]),
        attributes=data["attributes"],
        refs={name: from_json(ref) for name, ref in data["refs"].items()},
        digest=data["digest"],
    )
