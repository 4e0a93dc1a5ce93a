"""Export every architecture, compare it with transformers, and write the table into docs/onnx-export.md.

    python benchmarks/export_matrix.py [--real NAME=FOLDER …]

`--real smollm2=…` and `--real minilm-real=…` add real models from local folders.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from olive_like.artifacts import HfModel  # noqa: E402
from tests.convert.matrix import DECODERS, ENCODERS, PAIRS, Row, measure, tiny  # noqa: E402

PAGE = ROOT / "docs" / "onnx-export.md"
BEGIN, END = "<!-- table: benchmarks/export_matrix.py -->", "<!-- end of table -->"
HEAD = "| model | exporter | nodes | largest difference | compared at | greedy tokens |\n|---|---|---|---|---|---|\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--only", nargs="*", help="architectures; the page is left alone")
    options = parser.parse_args()
    rows = []
    for name in options.only if options.only is not None else [*DECODERS, *ENCODERS, *PAIRS]:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_said(measure(name, tiny(name, Path(folder) / "in"), Path(folder) / "out")))
    for item in options.real:
        name, _, place = item.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_said(measure(name, HfModel(Path(place)), Path(folder) / "out")))
    if options.only is None:
        _write(rows)
    return 0


def _said(row: Row) -> Row:
    print(f"{row.name}: {row.difference:.1e}, tokens {row.tokens}, {row.seconds} s", flush=True)
    return row


def _write(rows: list[Row]) -> None:
    table = HEAD + "".join(
        f"| {row.name} | {row.exporter} | {row.nodes} | {row.difference:.1e} | {row.cases} | {row.tokens} |\n"
        for row in rows
    )
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table}{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
