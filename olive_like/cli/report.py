"""`olive-like report`: draw a run as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run: its id or the beginning of it; default: the latest")
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("-o", "--output-path", metavar="FILE", help="write it there as well")
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def execute(args: argparse.Namespace) -> int:
    from olive_like.report import write_report
    from olive_like.report.details import of_folder
    from olive_like.store import Store, default_root

    with Store(Path(args.cache_dir) if args.cache_dir else default_root()) as store:
        folder = _find(store.layout.runs, args.run)
        file = write_report(folder, of_folder(folder, store))
    if args.output_path:
        import shutil

        shutil.copyfile(file, args.output_path)
    print(args.output_path or file)
    if args.open:
        import webbrowser

        webbrowser.open(file.as_uri())
    return 0


def _find(runs: Path, name: str) -> Path:
    from olive_like.errors import WorkflowError
    from olive_like.graph.compare import find_run

    if name:
        return find_run(runs, name)
    found = sorted(path for path in runs.glob("*") if (path / "run.json").exists())
    if not found:
        raise WorkflowError("there are no runs", "Run a workflow first.")
    return found[-1]
