"""Every ready-made workflow checks clean; and each runs."""

import json
import re
import subprocess
import sys

import pytest
import yaml

import olive_like
from olive_like.workflow.read import read
from olive_like.workflows import ready_made

READY = ready_made()
NEEDS_A_CLASSIFIER = ("bert-int8-onnx", "static-qdq")
SEVERAL_RANKS = ("zero3",)
RUNS_ELSEWHERE = ("quickstart",)  # as it is, by every command of the tutorial: tests/docs


def olive(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "olive_like", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", READY)
def test_it_has_a_line_about_itself_and_no_mistake(name):
    assert READY[name].about
    assert [d for d in read(READY[name].file).diagnostics if d.severity != "note"] == []


def test_they_are_listed():
    listed = json.loads(olive("workflows", "--json").stdout)
    assert [one["name"] for one in listed] == list(READY)


def test_a_copy_has_all_that_it_needs(tmp_path):
    assert olive("workflows", "copy", "dpo", cwd=tmp_path).returncode == 0
    assert olive("check", "dpo/workflow.yaml", cwd=tmp_path).returncode == 0
    assert "../" not in (tmp_path / "dpo" / "workflow.yaml").read_text()
    again = olive("workflows", "copy", "dpo", cwd=tmp_path)
    assert (again.returncode, again.stderr.splitlines()[0]) == (1, "error: dpo is there already, and not empty")


def test_an_unknown_one_has_the_nearest_name():
    failed = olive("workflows", "show", "quikstart")
    assert failed.returncode == 2
    assert "quickstart" in failed.stderr


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    from tests.tiny_models import tiny_bert

    return tiny_bert(tmp_path_factory.mktemp("bert"), num_labels=2)


def group(name):
    """Those that export stay together, with the examples of passes that do: they share exports."""
    return "examples" if re.search("onnx|cpu|qdq|adapter|search|classification", name) else "examples in PyTorch"


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(group(name))) for name in READY if name not in RUNS_ELSEWHERE],
)
def test_it_runs(name, shared_cache, tmp_path, request):
    passes = yaml.safe_load(READY[name].file.read_text())["passes"]
    less = [f"passes.{one}.max_steps=5" for one, step in passes.items() if "max_steps" in step]
    if name in NEEDS_A_CLASSIFIER:
        less.append(f"input_model.model_path={request.getfixturevalue('classifier').path}")
    result = olive_like.run(
        READY[name].file,
        overrides=less,
        cache_dir=shared_cache,
        output_dir=tmp_path / "out",
        in_process=name not in SEVERAL_RANKS,
    )
    result.raise_for_status()
    assert result.outputs
    assert all(output.path.is_dir() for output in result.outputs.values())
