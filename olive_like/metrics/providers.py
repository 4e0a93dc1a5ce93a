"""What a metric, or a tuned model, says of the providers of onnxruntime that it is to be measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from olive_like.errors import PassError


def settings_for_onnx(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A metric's `inference_settings`, which may be given by format."""
    inner = settings.get("onnx")
    if inner is None:
        return dict(settings)
    return {**dict(inner), **{key: value for key, value in settings.items() if key == "io_bind"}}


def joined(tuned: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What was tuned for a model, unless the metric says otherwise: options belong to providers named beside them."""
    kept = {key: value for key, value in tuned.items() if key != "provider_options" or "execution_provider" not in own}
    return {**kept, **own}


def providers_wanted(settings: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Providers with their options, written as names, as pairs of both, or with `provider_options` beside them."""
    written = settings.get("execution_provider") or []
    found = [_provider(one) for one in ([written] if isinstance(written, str) else written)]
    beside = settings.get("provider_options") or []
    beside = [beside] if isinstance(beside, Mapping) else beside
    if beside and len(beside) != len(found):
        raise PassError(
            f"`provider_options` has {len(beside)} entries for {len(found)} of `execution_provider`",
            "Write one for each provider, `{}` where there is nothing to say.",
        )
    return [
        (name, {**options, **(more or {})})
        for (name, options), more in zip(found, beside or [{}] * len(found), strict=True)
    ]


def _provider(one: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(one, str):
        return one, {}
    if isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[0], str):
        name, options = one
        if options is None or isinstance(options, Mapping):
            return name, dict(options or {})
    raise PassError(
        f"`execution_provider` has {one!r}, which is neither a name nor a pair of a name and its options",
        "Write a list of names, or of pairs like [CUDAExecutionProvider, {device_id: 0}].",
    )
