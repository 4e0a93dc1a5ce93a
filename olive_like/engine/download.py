"""Bring a hub model to this machine before the run."""

from __future__ import annotations

from olive_like.errors import OliveLikeError
from olive_like.graph.source_of import source_of
from olive_like.workflow.schema import Workflow


def download(workflow: Workflow) -> None:
    """Download the input model, or the adapter's base, into the hub's own cache."""
    source = source_of(workflow.input_model, workflow.base_dir)
    missing = source.missing() if source else None
    if missing is None:
        raise OliveLikeError("the input model is neither here nor known to the hub")
    from olive_like.engine._hub import fetch

    fetch(missing.name, missing.attributes.get("revision"))
