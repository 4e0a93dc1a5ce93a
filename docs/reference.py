"""Writes docs/reference from the classes themselves.

python docs/reference.py            write the pages
python docs/reference.py --check    exit with 1 if a page is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel

from olive_like.cli import COMMANDS
from olive_like.cli.describe import settings_of
from olive_like.diagnostics.codes import all_codes, page
from olive_like.metrics.catalog import QUALITY, SPEED
from olive_like.passes import registry
from olive_like.passes.base import Pass, arity_words, kind_words
from olive_like.passes.examples import example
from olive_like.systems import registry as systems
from olive_like.workflow.schema import Workflow

FOLDER = Path(__file__).with_name("reference")
NOTE = "<!-- Written by docs/reference.py from the classes. Change those, not this page. -->\n"


def pages() -> Iterator[tuple[str, str]]:
    """Every page: its path below the folder, and its text."""
    names = [name for name in registry.names() if registry.entry(name).origin == "built in"]
    yield "passes.md", _index(names)
    for name in names:
        yield f"passes/{name}.md", _pass(name, registry.load(name))
    yield "systems.md", _systems()
    yield "metrics.md", _metrics()
    yield "diagnostics.md", _diagnostics()
    yield "workflow.md", _workflow()
    yield "cli.md", _cli()


def _table(model: type[BaseModel]) -> str:
    rows = ["| setting | takes | default | meaning |", "|---|---|---|---|"]
    for s in settings_of(model):
        cells = [f"`{s.name}`", _cell(s.type), _code(s.default), _cell(s.description)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else "It has no settings."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _code(text: str) -> str:
    return text if text == "required" else "`" + text.replace("|", "\\|").replace("\n", "\\n") + "`"


def _index(names: list[str]) -> str:
    lines = [NOTE, "# Passes", ""]
    rooms: dict[str, list[str]] = {}
    for name in names:
        rooms.setdefault(registry.entry(name).target.split(".")[2], []).append(name)
    for room, members in sorted(rooms.items()):
        lines += [f"## {room.replace('_', ' ').capitalize()}", "", "| pass | what it does |", "|---|---|"]
        for name in members:
            cls = registry.load(name)
            state = "" if cls.available() else " (declared, cannot run yet)"
            lines.append(f"| [{name}](passes/{name}.md) | {_cell(registry.doc(cls))}{state} |")
        lines.append("")
    return "\n".join(lines)


def _pass(name: str, cls: type[Pass]) -> str:
    lines = [NOTE, f"# {name}", "", registry.doc(cls), ""]
    if not cls.available():
        lines += ["**Declared only**: workflows with it can be checked, nothing can run it yet.", ""]
    makes = "what its input is" if cls.produces is None else cls.produces.kind
    lines += [
        f"- takes: {arity_words(cls.arity)}: {kind_words(cls.accepts)}",
        f"- makes: {makes}",
        f"- libraries: {', '.join(cls.tools) or 'none'}",
        f"- version: {cls.version}",
        "",
        "## Settings",
        "",
        _table(cls.Config),
        "",
    ]
    if text := example(name):
        lines += ["## Example", "", _about_example(cls, text), "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def _about_example(cls: type[Pass], text: str) -> str:
    """What has to be beside an example, and whether it has run."""
    beside = "It stands beside the folder that `olive-like workflows copy quickstart` makes"
    if not cls.available():
        return f"{beside}. It is checked, and cannot run: the pass is declared only."
    if "quickstart/" in text:
        return f"{beside}, and runs as it is; the test suite runs it."
    if "input_model: {type: HfModel" in text:
        return "The model comes from the hub, or from a folder of that name; the test suite runs it on a tiny one."
    return "It needs nothing beside it; the test suite runs it."


def _systems() -> str:
    lines = [NOTE, "# Systems", "", "Where a pass runs. See [systems](../systems.md) for how to choose.", ""]
    for name in systems.names():
        cls = systems.load(name)
        about = (cls.__doc__ or "").strip().partition("\n")[0]
        lines += [f"## {name}", "", about, "", _table(cls.Config), ""]
    return "\n".join(lines)


def _metrics() -> str:
    lines = [
        NOTE,
        "# Metrics",
        "",
        "## Quality (`type: accuracy`)",
        "",
        "| value | better | meaning |",
        "|---|---|---|",
    ]
    for name, value in QUALITY.items():
        lines.append(f"| `{name}` | {'more' if value.higher_is_better else 'less'} | {_cell(value.about)} |")
    for kind, values in SPEED.items():
        lines += ["", f"## `type: {kind}`", "", "| value | better | unit | meaning |", "|---|---|---|---|"]
        for name, value in values.items():
            better = "more" if value.higher_is_better else "less"
            lines.append(f"| `{name}` | {better} | {value.unit} | {_cell(value.about)} |")
    return "\n".join([*lines, ""])


def _diagnostics() -> str:
    lines = [NOTE, "# Diagnostics", "", "`olive-like explain CODE` prints the same.", ""]
    for code in all_codes():
        head, _, rest = page(code).partition("\n")
        lines += [f"## {head}", "", rest.strip(), ""]
    return "\n".join(lines)


def _workflow() -> str:
    from olive_like.data.config import DataConfig
    from olive_like.metrics.config import Evaluator
    from olive_like.workflow.models import MODELS
    from olive_like.workflow.search import SearchStrategy

    lines = [NOTE, "# Workflow files", "", "YAML or JSON. Unknown keys are errors. The JSON Schema for editors is "
             "`docs/schema/workflow.json`.", "", "## Top level", "", "| key | meaning |", "|---|---|"]  # fmt: skip
    lines += [f"| `{name}` | {_cell(info.description or '')} |" for name, info in Workflow.model_fields.items()]
    lines += [
        "",
        "A pass has `type`, its settings (flat, or under `config`), and may have `input` or `inputs`, `system` and "
        "`evaluator`. A list of passes under one name are alternatives for a search.",
        "",
    ]
    for name, model in MODELS.items():
        lines += [f"## input_model: {name}", "", _table(model), ""]
    for title, model in (("data_configs", DataConfig), ("evaluators", Evaluator), ("search_strategy", SearchStrategy)):
        lines += [f"## {title}", "", _table(model), ""]
    return "\n".join(lines)


def _cli() -> str:
    lines = [NOTE, "# Commands", ""]
    for name, (module, about) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"olive-like {name}", formatter_class=_Wide, allow_abbrev=False)
        import_module(module).configure(parser)
        lines += [
            f"## {name}",
            "",
            about[:1].upper() + about[1:] + ".",
            "",
            "```text",
            parser.format_help().rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


class _Wide(argparse.HelpFormatter):
    """The same width whatever terminal this runs in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=110, max_help_position=36)


def main() -> int:
    made = {FOLDER / path: text.rstrip() + "\n" for path, text in pages()}
    if "--check" in sys.argv:
        stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        stale += [path for path in FOLDER.rglob("*.md") if path not in made]
        for path in stale:
            print(f"{path.relative_to(FOLDER.parent)} is not current: run `make reference`", file=sys.stderr)
        return 1 if stale else 0
    for path in FOLDER.rglob("*.md"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
