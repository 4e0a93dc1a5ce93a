"""A pass that needs no model and no library."""

from __future__ import annotations

import os
import time
from typing import Annotated

from pydantic import Field

from olive_like.artifacts import Artifact, NullArtifact
from olive_like.canonical import digest
from olive_like.errors import PassError
from olive_like.marks import NotInKey
from olive_like.passes.base import Context, Pass, PassConfig

_CHUNK = 1 << 20


class Null(Pass):
    """Pretend to work: write one file whose content is fixed by the inputs and settings."""

    accepts = Artifact
    produces = NullArtifact
    arity = (0, None)
    traits = ("device",)

    class Config(PassConfig):
        bytes: int = Field(64, ge=0, description="Size of the file that is written.")
        seconds: Annotated[float, NotInKey()] = Field(0.0, ge=0, description="How long to sleep first.")
        fail: bool = Field(False, description="Fail instead of writing.")
        nondeterministic: bool = Field(False, description="Write other bytes on every run.")
        value: str | int | float | bool | None = Field(None, description="Anything: changes the content.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        _sleep(config.seconds, context)
        if config.fail:
            raise PassError("told to fail", "Set `fail: false`.")
        identity = [digest([a.digest for a in inputs]), config.bytes, config.value, context.seed, context.device]
        if config.nondeterministic:
            identity.append(os.urandom(16).hex())
        _write(context.output / "null.bin", config.bytes, digest(identity))
        return NullArtifact(context.output)


def _sleep(seconds: float, context: Context) -> None:
    """Sleep in steps, so that there is progress to see."""
    steps = int(seconds / 0.25)
    for step in range(steps):
        time.sleep(0.25)
        context.progress(step + 1, steps)
    time.sleep(seconds - steps * 0.25)


def _write(path: os.PathLike[str], size: int, identity: str) -> None:
    block = (bytes.fromhex(identity) * (_CHUNK // 32))[:size]
    with open(path, "wb") as file:
        left = size
        while left > 0:
            file.write(block[: min(left, _CHUNK)])
            left -= _CHUNK
