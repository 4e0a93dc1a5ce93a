"""What a measurement would pass over in its data set is said before anything runs."""

from __future__ import annotations

import pytest

from olive_like.artifacts import HfModel
from olive_like.data.script import lacking
from olive_like.passes.measure.evaluate import Evaluate
from olive_like.passes.prepare.tokenize import TokenizedText


def _said(*names, **data) -> str:
    subs = [{"name": name} for name in names]
    metric = {"name": "m", "type": "accuracy", "sub_types": subs, "data_config": {"source": "rows.json", **data}}
    config = Evaluate.Config.model_validate({"evaluator": {"metrics": [metric]}})
    return " ".join(Evaluate.problems(config, [HfModel]))


@pytest.mark.parametrize("part", ["process_function", "post_process_function", "dataloader_function"])
def test_functions(part: str) -> None:
    assert not _said(user_script="s.py", **{part: "f"})


def test_pictures_and_sound() -> None:
    assert not _said(image={})
    assert not _said("wer", "rtfx", audio={})
    assert "accuracy_score cannot be measured on recordings" in _said(audio={})
    assert not _said()


def test_text_that_is_tokenised() -> None:
    config = TokenizedText.Config.model_validate({"source": "rows.json", "audio": {}})
    assert "`audio`" in " ".join(TokenizedText.problems(config, [HfModel]))


def test_functions_that_a_script_does_not_have(tmp_path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import numpy as np\nif True:\n    from os import path\n\n    def rows(): ...\n"
        "try:\n    loaded = 1\nexcept ImportError:\n    spare = 2\n"
    )
    assert all(lacking(script, name) is None for name in ("np", "path", "rows", "loaded", "spare"))
    assert "Did you mean `rows`?" in str(lacking(script, "row"))
    assert "mine.py has no function 'score'" in str(lacking(script, "score"))
    assert "no function 'batches'" in _said(user_script=str(script), dataloader_function="batches")
    script.write_text("from other import *\n")
    assert lacking(script, "score") is None
    script.write_text("def (:\n")
    assert "mine.py, line 1" in str(lacking(script, "score"))


@pytest.mark.parametrize(("metric", "alone"), [("latency", True), ("memory", True), ("rtfx", True), ("wer", False)])
def test_what_takes_times_has_its_system_to_itself(metric: str, alone: bool) -> None:
    config = Evaluate.Config.model_validate({"evaluator": {"metrics": [metric]}})
    assert Evaluate.alone(config) is alone
