"""Providers of onnxruntime and their options, in every way that they are written."""

from typing import Any

import pytest

from olive_like.errors import PassError
from olive_like.metrics.config import Evaluator
from olive_like.metrics.providers import joined, providers_wanted
from olive_like.passes.measure.evaluate import Evaluate
from olive_like.passes.onnx_graph.session_tuning import OrtSessionParamsTuning

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, []),
        ({"execution_provider": CUDA}, [(CUDA, {})]),
        ({"execution_provider": [CUDA, CPU]}, [(CUDA, {}), (CPU, {})]),
        ({"execution_provider": [[CUDA, {"device_id": 1}], CPU]}, [(CUDA, {"device_id": 1}), (CPU, {})]),
        ({"execution_provider": [CUDA], "provider_options": [{"device_id": 1}]}, [(CUDA, {"device_id": 1})]),
        ({"execution_provider": CUDA, "provider_options": {"device_id": 1}}, [(CUDA, {"device_id": 1})]),
    ],
)
def test_options_reach_their_provider(settings: dict[str, Any], wanted: list[tuple[str, Any]]) -> None:
    assert providers_wanted(settings) == wanted


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"execution_provider": [CUDA, {"device_id": 1}]}, "neither a name nor a pair"),
        ({"execution_provider": [[CUDA]]}, "neither a name nor a pair"),
        ({"execution_provider": [CUDA, CPU], "provider_options": [{}]}, "1 entries for 2"),
    ],
)
def test_what_is_no_provider_is_found_before_anything_runs(settings: dict[str, Any], why: str) -> None:
    metric = {"name": "speed", "type": "latency", "user_config": {"inference_settings": {"onnx": settings}}}
    config = Evaluate.Config(evaluator=Evaluator.model_validate({"metrics": [metric]}))
    assert why in "".join(Evaluate.problems(config, ()))
    with pytest.raises(PassError, match=why):
        providers_wanted(settings)


def test_a_tuning_wants_options_for_each_provider_or_for_all() -> None:
    def problems(**settings: Any) -> list[str]:
        return OrtSessionParamsTuning.problems(OrtSessionParamsTuning.Config(**settings), ())

    assert "2 entries for 1" in problems(providers_list=[CPU], provider_options_list=[{}, {}])[0]
    assert "2 entries for 1" in problems(provider_options_list=[{}, {}])[0]
    assert problems(providers_list=[CUDA, CPU], provider_options_list=[{}, {}]) == []
    assert problems(providers_list=[CUDA, CPU], provider_options_list={"a": 1}) == []


def test_tuned_options_go_with_tuned_providers() -> None:
    tuned = {"execution_provider": [CUDA], "provider_options": [{"device_id": 1}], "io_bind": True}
    assert providers_wanted(joined(tuned, {"execution_provider": [CPU, CUDA]})) == [(CPU, {}), (CUDA, {})]
    assert providers_wanted(joined(tuned, {})) == [(CUDA, {"device_id": 1})]
