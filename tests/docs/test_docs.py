"""The manual: generated pages are current, blocks run or say why not, links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import olive_like
from tests.docs.conftest import furnish
from tests.docs.pages import DOCS, PAGES, WRITTEN, anchors, blocks, links
from tests.docs.running import Session, whole

# What a reader can do with a block; `text` is what a program printed.
LANGUAGES = ("sh", "python", "yaml", "toml")
RUNNING = [page for page in WRITTEN if any(block.why_not is None for block in blocks(page))]
NOT_RUN = [block for page in WRITTEN for block in blocks(page) if block.why_not is not None]


@pytest.mark.parametrize("script", ["reference.py", "from_olive.py"])
def test_generated_pages_are_current(script: str) -> None:
    run = subprocess.run([sys.executable, DOCS / script, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_block_is_of_a_language_that_can_be_carried_out() -> None:
    strange = [(block.name, block.language) for page in WRITTEN for block in blocks(page)]
    assert [one for one in strange if one[1] not in LANGUAGES] == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("examples")
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_the_blocks_run(page: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(furnish(tmp_path / "here"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    # One page empties its cache, and writes all of it into a file.
    session = Session(tmp_path / "cache" if page.stem == "cache" else shared_cache)
    for name, value in session.environment().items():
        monkeypatch.setenv(name, value)
    session.carry_out(page)


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.name)
def test_a_block_that_is_not_run_has_no_mistake(block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run, but read: a workflow, or a part of one, is checked, Python compiled, commands known."""
    from olive_like.cli import COMMANDS

    monkeypatch.chdir(furnish(tmp_path / "here"))
    if block.language == "python":
        compile(block.text, block.name, "exec")
    elif block.language == "sh":
        words = [line.split() for line in block.text.splitlines() if line.startswith("olive-like ")]
        assert [line[1] for line in words if line[1] not in COMMANDS] == []
    elif block.language == "yaml" and {"passes", "systems", "input_model"} & set(yaml.safe_load(block.text)):
        found = olive_like.check(whole(block.text), files=False).diagnostics
        assert [one for one in found if one.severity == "error"] == []


def test_links_lead_somewhere() -> None:
    known = {page: anchors(page) for page in PAGES}
    broken = []
    for page in PAGES:
        for file, anchor in links(page):
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (anchor and anchor not in known.get(target, ())):
                broken.append(f"{page.name}: {file}#{anchor}" if anchor else f"{page.name}: {file}")
    assert broken == []


def test_every_page_can_be_reached() -> None:
    """A page is in the site's table of contents, or one of the generated ones that `reference/passes.md` lists."""
    contents = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    listed = (DOCS / "reference/passes.md").read_text(encoding="utf-8")
    named = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert [name for name in named if f": {name}\n" not in contents and f"({name[10:]})" not in listed] == []
