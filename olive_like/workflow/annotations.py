"""Types of settings, taken apart."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin


def options(annotation: Any) -> Iterator[Any]:
    """What an annotation allows: the members of a union, what is annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from options(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from options(option)
    else:
        yield annotation
