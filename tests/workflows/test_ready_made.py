"""Every ready-made workflow checks clean; and each runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from olive_like.workflow.read import read
from olive_like.workflows import ready_made

READY = ready_made()
NEEDS_A_CLASSIFIER = ("bert-int8-onnx", "static-qdq")


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


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for all: they share the tokenised glossary and the export of the same model."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    from tests.tiny_models import tiny_bert

    return tiny_bert(tmp_path_factory.mktemp("bert"), num_labels=2)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    # Two groups, so that both processes of tests have one, each with a cache that its workflows share.
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"ready-made {i % 2}")) for i, name in enumerate(READY)],
)
def test_it_runs(name, cache, tmp_path, request):
    more = []
    if name in NEEDS_A_CLASSIFIER:
        more = ["--set", f"input_model.model_path={request.getfixturevalue('classifier').path}"]
    run = olive("run", READY[name].file, "--cache-dir", cache, "--output-path", tmp_path / "out", "--json", *more)
    assert run.returncode == 0, run.stderr[-3000:] + run.stdout[-3000:]
    result = json.loads(run.stdout)
    assert result["status"] == "ok"
    assert result["outputs"]
    assert all(Path(output["path"]).is_dir() for output in result["outputs"].values())
