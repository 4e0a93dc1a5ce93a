"""The surgeons' settings. What each does stands in the module of the same name with an underscore."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator

from olive_like.passes.onnx_graph.surgeons import attention, dimensions, duplicates, embeddings, interface, rewrites
from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings

SURGEONS: dict[str, type[SurgeonSettings]] = {
    cls.__name__: cls
    for module in (interface, dimensions, rewrites, duplicates, embeddings, attention)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, SurgeonSettings) and cls is not SurgeonSettings
}

_SPELLINGS = {name.lower(): name for name in SURGEONS}


def _proper_name(value: Any) -> Any:
    """Old files write names of surgeons in any case."""
    if isinstance(value, dict) and isinstance(value.get("surgeon"), str):
        return {**value, "surgeon": _SPELLINGS.get(value["surgeon"].lower(), value["surgeon"])}
    return value


if TYPE_CHECKING:
    Surgery = Any  # the union of all surgeons' settings, which only a running Python can put together
else:
    Surgery = Annotated[reduce(or_, SURGEONS.values()), Discriminator("surgeon"), BeforeValidator(_proper_name)]
