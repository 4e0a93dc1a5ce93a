"""What the settings of all surgeons have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SurgeonSettings(BaseModel):
    """Settings of a surgeon; its name is the value of `surgeon`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    surgeon: str
