"""`make` for models: a declarative, cached graph of passes over machine-learning models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public API: name -> module. Loaded on first use, so that `import olive_like` costs nothing.
_EXPORTS = {
    "run": "olive_like.api",
    "plan": "olive_like.api",
    "check": "olive_like.api",
    "RunResult": "olive_like.api",
    "CheckResult": "olive_like.api",
    "Workflow": "olive_like.workflow.schema",
    "Pass": "olive_like.passes.base",
    "PassConfig": "olive_like.passes.base",
    "Context": "olive_like.passes.base",
    "System": "olive_like.systems.base",
    "Artifact": "olive_like.artifacts",
    "HfModel": "olive_like.artifacts",
    "Adapter": "olive_like.artifacts",
    "OnnxModel": "olive_like.artifacts",
    "PyTorchModel": "olive_like.artifacts",
    "Dataset": "olive_like.artifacts",
    "Metrics": "olive_like.artifacts",
    "OliveLikeError": "olive_like.errors",
    "PassError": "olive_like.errors",
}

__all__ = [*_EXPORTS, "__version__"]

if TYPE_CHECKING:
    from olive_like.api import CheckResult, RunResult, check, plan, run
    from olive_like.artifacts import Adapter, Artifact, Dataset, HfModel, Metrics, OnnxModel, PyTorchModel
    from olive_like.errors import OliveLikeError, PassError
    from olive_like.passes.base import Context, Pass, PassConfig
    from olive_like.systems.base import System
    from olive_like.workflow.schema import Workflow


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'olive_like' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
