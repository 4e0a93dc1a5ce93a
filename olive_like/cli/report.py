"""`olive-like report`: draw a run as one HTML file."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", nargs="?", default="last", help="a run: its id or the beginning of it; default: the latest"
    )
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("-o", "--output-path", metavar="FILE", help="write it there as well")
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.cache_root import cache_root
    from olive_like.engine.runs import find_run
    from olive_like.report import write_report
    from olive_like.report.details import of_folder
    from olive_like.store import Store

    root = cache_root(args.cache_dir)
    with Store(root) as store:
        folder = find_run(root, args.run).folder
        file = write_report(folder, of_folder(folder, store))
    if args.output_path:
        import shutil

        shutil.copyfile(file, args.output_path)
    print(args.output_path or file)
    if args.open:
        import webbrowser

        webbrowser.open(file.as_uri())
    return 0
