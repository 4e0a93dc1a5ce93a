"""What a measurement would pass over in its data set is said before anything runs."""

from __future__ import annotations

import pytest

from olive_like.artifacts import HfModel
from olive_like.passes.measure.evaluate import Evaluate
from olive_like.passes.prepare.tokenize import TokenizedText


def _said(**data) -> str:
    metric = {"name": "m", "type": "accuracy", "data_config": {"source": "rows.json", **data}}
    config = Evaluate.Config.model_validate({"evaluator": {"metrics": [metric]}})
    return " ".join(Evaluate.problems(config, [HfModel]))


@pytest.mark.parametrize("part", ["process_function", "post_process_function", "dataloader_function"])
def test_functions(part: str) -> None:
    assert not _said(user_script="s.py", **{part: "f"})


def test_pictures_and_sound() -> None:
    assert not _said(image={})
    assert "`audio`" in _said(audio={})
    assert not _said()


def test_text_that_is_tokenised() -> None:
    config = TokenizedText.Config.model_validate({"source": "rows.json", "audio": {}})
    assert "`audio`" in " ".join(TokenizedText.problems(config, [HfModel]))
