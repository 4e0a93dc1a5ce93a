"""A folder as a reader has it: what the manual's examples name is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from olive_like.workflows import ready_made

# Where the manual names a model of the hub, the folder of that name comes first: here it is the quickstart's.
MODELS = ("HuggingFaceTB/SmolLM2-135M-Instruct",)
ROWS = ("chats.jsonl", "data/support.jsonl", "eval.jsonl", "train.jsonl")


def furnish(folder: Path) -> Path:
    """The folder with what `workflows copy quickstart` makes, and models and rows under the names that pages use."""
    shipped = ready_made()["quickstart"].folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quickstart").symlink_to(shipped)
    for name in MODELS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(shipped / "model")
    for name in ROWS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped / "glossary.jsonl", folder / name)
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="session")
def encoders(place: Path) -> Path:
    """The models that examples take from the hub, tiny, under their names."""
    from tests.tiny_models import tiny_distilbert, tiny_vit

    tiny_distilbert(place / "distilbert/distilbert-base-uncased-finetuned-sst-2-english")
    tiny_vit(place / "google/vit-base-patch16-224")
    return place
