"""What a workflow says about a data set."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from olive_like.marks import NotInKey


class DataConfig(BaseModel):
    """A data set: where its rows are, which of them, and how they become examples."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())

    name: Annotated[str, NotInKey()] = Field("", description="The name that passes refer to it by.")
