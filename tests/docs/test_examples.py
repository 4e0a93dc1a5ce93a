"""Every pass has an example; it has no mistake, and it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import olive_like
from olive_like.passes import registry
from olive_like.passes.examples import FOLDER, example
from tests.docs.pages import DOCS

BUILT_IN = [name for name in registry.names() if registry.entry(name).origin == "built in"]
RUNNING = [name for name in BUILT_IN if registry.load(name).available()]


def group(name: str) -> str:
    """Examples that share an export stay together; those that stay in PyTorch are the other group."""
    room = registry.entry(name).target.split(".")[2]
    return "examples in PyTorch" if room in ("finetune", "quantize", "measure", "prepare", "pretend") else "examples"


def test_every_pass_has_one_and_every_one_has_a_pass() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_stands_on_the_page_and_has_no_mistake(name: str, place: Path) -> None:
    text = example(name)
    assert text is not None
    assert text.startswith("# ")
    assert f"```yaml\n{text}\n```" in (DOCS / "reference/passes" / f"{name}.md").read_text(encoding="utf-8")
    (place / f"{name}.yaml").write_text(text)
    codes = {found.code for found in olive_like.check(place / f"{name}.yaml", files=False).diagnostics}
    assert codes <= (set() if name in RUNNING else {"OL302"})


@pytest.mark.heavy
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.xdist_group(group(n))) for n in RUNNING])
def test_it_runs(name: str, encoders: Path, shared_cache: Path) -> None:
    file = encoders / f"{name}.yaml"
    file.write_text(example(name) or "")
    result = olive_like.run(file, in_process=True, cache_dir=shared_cache, output_dir=encoders / "outputs" / name)
    result.raise_for_status()
    assert name in {one.type for one in result.passes.values()}
    assert all(output.path.is_dir() for output in result.outputs.values())
