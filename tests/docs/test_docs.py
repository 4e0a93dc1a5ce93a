"""The manual: generated pages are current, code blocks work, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from olive_like.cli import COMMANDS
from olive_like.workflow.loader import loads
from olive_like.workflow.read import read

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
WRITTEN = [page for page in PAGES if "reference" not in page.parts]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(language: str):
    for page in WRITTEN:
        for index, (kind, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            if kind == language:
                yield pytest.param(text, id=f"{page.name}-{index}")


@pytest.mark.parametrize("script", ["reference.py", "from_olive.py"])
def test_generated_pages_are_current(script):
    run = subprocess.run([sys.executable, DOCS / script, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def runnable():
    return [block for block in blocks("python") if "olive_like.run(" in block.values[0]]


@pytest.mark.parametrize("text", runnable())
def test_python_that_runs_workflows_runs(text, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "OLIVE_LIKE_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_compiles(text):
    compile(text, "block", "exec")


@pytest.mark.parametrize("text", list(blocks("yaml")))
def test_yaml_parses_and_whole_workflows_are_right(text, tmp_path):
    loaded = loads(text, "block.yaml", "yaml")
    assert loaded.tree is not None, loaded.diagnostics
    if "input_model" in loaded.tree and "passes" in loaded.tree:
        file = tmp_path / "block.yaml"
        file.write_text(text)
        found = read(file).diagnostics
        assert [d for d in found if d.severity == "error"] == []


def test_commands_that_are_shown_exist():
    for page in WRITTEN:
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language in ("sh", "console", "bash"):
                for name in re.findall(r"^(?:\$ )?olive-like ([\w-]+)", text, re.M):
                    assert name in COMMANDS or name.startswith("-"), f"{page.name}: {name}"


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not target.startswith(("http://", "https://", "mailto:")) and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
