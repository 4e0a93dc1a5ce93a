"""The model that a workflow starts from, as an artifact with a digest."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olive_like.artifacts import Adapter, Artifact, HfModel, NullArtifact, OnnxModel, PyTorchModel
from olive_like.canonical import digest
from olive_like.errors import OliveLikeError

# (folder or file, kind, attributes, digests of refs, globs of the files that count) -> digest
TreeDigest = Callable[[Path, str, Mapping[str, Any], Mapping[str, str], "tuple[str, ...] | None"], str]


@dataclass(frozen=True)
class SourceModel:
    """What the workflow says about its input model, reduced to what the graph needs.

    `attributes` can change a result and go into the digest. `local` holds paths of code on this machine
    (`script`, `script_dir`): their content goes into the digest, the paths do not.
    """

    kind: type[Artifact]
    path: Path | None  # None: not on this machine (a hub name that is not in the hub's cache)
    attributes: Mapping[str, Any]
    local: Mapping[str, str]
    name: str = ""  # as the user wrote it
    only: tuple[str, ...] | None = None
    base: SourceModel | None = None  # of an adapter

    def missing(self) -> SourceModel | None:
        """The model here that is not on this machine, if one is not."""
        if self.kind is not NullArtifact and (self.path is None or not self.path.exists()):
            return self
        return self.base.missing() if self.base else None


def identify(source: SourceModel, tree_digest: TreeDigest) -> Artifact | None:
    """The artifact of a source; None while it is not on this machine."""
    if source.kind is NullArtifact:
        return NullArtifact(Path(os.devnull), digest=digest({"null": dict(source.attributes)}))
    if source.path is None:
        return None
    refs: dict[str, Artifact] = {}
    if source.base is not None:
        base = identify(source.base, tree_digest)
        if base is None:
            return None
        refs["base"] = base
    code = {
        name: tree_digest(Path(path), "code", {}, {}, ("*.py",) if Path(path).is_dir() else None)
        for name, path in source.local.items()
    }
    content = tree_digest(
        source.path,
        source.kind.kind,
        {**source.attributes, "code": code} if code else source.attributes,
        {name: str(ref.digest) for name, ref in refs.items()},
        source.only,
    )
    return source.kind(source.path, {**source.attributes, **source.local}, refs, content)


def hf_model(name: str, folder: Path | None, attributes: Mapping[str, Any], local: Mapping[str, Any]) -> SourceModel:
    """A Hugging Face folder, or a hub name where its cache has it."""
    path = folder if folder is not None else _whole(hub_snapshot(name, attributes.get("revision")))
    return SourceModel(HfModel, path, attributes, local, name)


# The graphs of an encoder-decoder model, as it is exported and as onnxruntime-genai's builder writes it.
_PARTS = (
    {"encoder_model.onnx": "encoder", "decoder_model.onnx": "decoder"},
    {"encoder.onnx": "encoder", "decoder.onnx": "decoder"},
)


def onnx_model(path: Path | None, file: str | None, attributes: Mapping[str, Any], name: str) -> SourceModel:
    """An ONNX file with its external data, or a folder that holds one."""
    if path is None or not path.exists():
        return SourceModel(OnnxModel, None, attributes, {}, name)
    if path.is_dir():
        found = [file] if file else sorted(p.name for p in path.glob("*.onnx"))
        for files in _PARTS:
            if set(found) != set(files):
                continue
            parts = [{"name": part, "file": one} for one, part in files.items()]
            return SourceModel(OnnxModel, path, {**attributes, "file": found[0], "components": parts}, {}, name)
        if len(found) != 1:
            raise OliveLikeError(
                f"{path} has {len(found)} ONNX files" + (f": {', '.join(found[:5])}" if found else ""),
                "Name one with `onnx_file_name`.",
            )
        return SourceModel(OnnxModel, path, {**attributes, "file": found[0]}, {}, name)
    only = (path.name, *external_files(path))
    return SourceModel(OnnxModel, path.parent, {**attributes, "file": path.name}, {}, name, only)


def pytorch_model(
    folder: Path | None, script: Path | None, attributes: Mapping[str, Any], local: Mapping[str, str], name: str
) -> SourceModel:
    """A model that a user's script builds: the script's content counts, its place does not."""
    if folder is None and name:
        attributes = {**attributes, "model_path": name}  # a name that means something to the script
    return SourceModel(PyTorchModel, folder if folder is not None else script, attributes, local, name)


def adapter(name: str, folder: Path | None, base: SourceModel, attributes: Mapping[str, Any]) -> SourceModel:
    """A peft adapter over a base model."""
    path = folder if folder is not None else _whole(hub_snapshot(name))
    return SourceModel(Adapter, path, attributes, {}, name, base=base)


_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack"})
_LOCATION = re.compile(rb"\x0a\x08location\x12")


def external_files(path: Path) -> list[str]:
    """The external data files that an ONNX file names, read off its bytes without the onnx package."""
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        names = set()
        for match in _LOCATION.finditer(raw):
            start, length = match.end() + 1, raw[match.end()]
            if length & 0x80:  # protobuf writes lengths of 128 and more in two bytes
                start, length = start + 1, (length & 0x7F) | raw[start] << 7
            names.add(raw[start : start + length].decode("utf-8", "replace"))
    return sorted(names)


def hub_snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model in the hub's cache on this machine, if it is there."""
    root = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface"), "hub"
    )
    folder = Path(root) / ("models--" + name.replace("/", "--"))
    reference = folder / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit if commit else None
    return snapshot if snapshot and snapshot.is_dir() else None


def _whole(snapshot: Path | None) -> Path | None:
    """The snapshot if its weights are there: who asks for a tokenizer alone leaves a folder without them."""
    if snapshot is None:
        return None
    index = snapshot / "model.safetensors.index.json"
    if not index.is_file():
        return snapshot if any(file.suffix in _WEIGHTS for file in snapshot.iterdir()) else None
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # cut off: it is fetched again
    return snapshot if all((snapshot / str(shard)).is_file() for shard in shards) else None
