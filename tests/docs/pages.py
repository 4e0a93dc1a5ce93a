"""The manual's pages: their blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
WRITTEN = [page for page in PAGES if "reference" not in page.parts]  # by hand

# `<!-- not run: why -->` may stand above a block.
_BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]*)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)


class Block(NamedTuple):
    """A block of code of a page."""

    page: Path
    number: int
    language: str
    text: str
    why_not: str | None  # why it is not run

    @property
    def name(self) -> str:
        return f"{self.page.stem}-{self.number}"


def blocks(page: Path) -> Iterator[Block]:
    for number, found in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8")), 1):
        yield Block(page, number, found["language"], found["text"], found["why"])


def links(page: Path) -> Iterator[tuple[str, str]]:
    """File and anchor of every link that leads to something of ours."""
    text = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text(encoding="utf-8")))
    for target in _LINK.findall(text):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors(page: Path) -> set[str]:
    """The anchors that the site generator gives the headings of a page."""
    found: set[str] = set()
    for heading in _HEADING.findall(_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"[^\w\s-]", "", re.sub(r"[`*]|<[^>]+>", "", heading)).strip().lower()
        slug = name = re.sub(r"[-\s]+", "-", words)
        number = 1
        while name in found:
            name, number = f"{slug}_{number}", number + 1
        found.add(name)
    return found
