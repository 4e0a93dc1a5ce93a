"""Running a graph whose adapters are inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from olive_like.passes._onnx_runtime import ORT_ERRORS, Arrays, in_one_line


def run_with(session: ort.InferenceSession, feeds: Arrays, weights: Mapping[str, np.ndarray]) -> Arrays:
    """Outputs by name, with an adapter's matrices given as inputs like any other."""
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    given = {name: value for name, value in feeds.items() if name in wanted} | dict(weights)
    try:
        return dict(zip(names, session.run(names, given), strict=True))
    except ORT_ERRORS as error:
        raise in_one_line(error) from error
