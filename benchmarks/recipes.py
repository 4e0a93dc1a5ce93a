"""Check every workflow file of a folder and say, per tier, how many are clean and what the others lack.

    python benchmarks/recipes.py DIR        (or: make recipes DIR=…)
    python benchmarks/recipes.py DIR --run  (or: make recipes DIR=… RUN=1)

Files may be written in Olive's dialect. `DIR/INDEX.json`, where there is one, names the files and gives each a
tier: `{"a/b.json": {"tier": "T1"}}`. Whether the files that a workflow names exist is not looked at. The exit code
is 1 if a file makes the checker crash or a diagnostic has no place in its file, and 0 otherwise.

With `--run`, every clean file is planned, and run as `olive-like run --test` does it: with a tiny model, made-up data
and this machine's processor. Scripts and ONNX files that a workflow names and that are not beside it are stood in for.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from olive_like.diagnostics import Diagnostic, Severity

_ENDINGS = (".json", ".yaml", ".yml")
_PASS = re.compile(r"pass type not available: (\w+)(.*)|there is no pass of type '(\w+)'")


@dataclass
class Tally:
    """What was found in all files."""

    verdicts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    passes: Counter[str] = field(default_factory=Counter)  # pass type -> files that lack it
    others: Counter[str] = field(default_factory=Counter)  # any other error -> files
    faults: list[str] = field(default_factory=list)  # of the checker itself


def check(path: Path) -> list[Diagnostic]:
    """All diagnostics of one file."""
    from olive_like.graph.check import diagnose
    from olive_like.workflow.read import read

    return list(diagnose(read(path), files=False))


def files_of(folder: Path) -> dict[Path, str]:
    """The workflow files of a folder, each with its tier."""
    index = folder / "INDEX.json"
    if index.exists():
        return {folder / name: str(entry.get("tier", "-")) for name, entry in json.loads(index.read_text()).items()}
    found = sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS and path.is_file())
    return dict.fromkeys(found, "-")


def examine(folder: Path) -> Tally:
    """Check all files of a folder in this process."""
    tally = Tally()
    for path, tier in files_of(folder).items():
        name = path.relative_to(folder)
        try:
            diagnostics = check(path)
        except Exception:  # noqa: BLE001 - a crash is what this looks for
            tally.verdicts[tier]["crash"] += 1
            tally.faults.append(f"{name}: {traceback.format_exc().strip().splitlines()[-1]}")
            continue
        errors = [d for d in diagnostics if d.severity is Severity.ERROR]
        tally.verdicts[tier]["names what is missing" if errors else "clean"] += 1
        tally.faults += [f"{name}: {d.code} has no place: {d.message}" for d in diagnostics if not d.line]
        for error in {(d.code, d.message) for d in errors}:
            _count(tally, *error)
    return tally


def _count(tally: Tally, code: str, message: str) -> None:
    match = _PASS.match(message)
    if match is None:
        tally.others[f"{code} {message}"] += 1
    else:
        tally.passes[(match[1] or match[3]) + (match[2] or "")] += 1


def run_all(folder: Path, cache: Path, limit: float, wanted: str) -> bool:
    """Run every clean file, a line for each; whether none failed."""
    import recipes_run

    tiers = {path: tier for path, tier in files_of(folder).items() if wanted in str(path.relative_to(folder))}
    clean = [path for path in tiers if not any(d.severity is Severity.ERROR for d in check(path))]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    causes: Counter[str] = Counter()
    for outcome in recipes_run.attempt_all(clean, cache, limit):
        counts[tiers[outcome.file]][outcome.verdict] += 1
        counts[tiers[outcome.file]]["with stand-ins"] += outcome.verdict == "ok" and bool(outcome.stood_in)
        if outcome.why:
            causes[re.sub(r"\d+", "N", outcome.why)[:150]] += 1
        name = outcome.file.relative_to(folder)
        print(f"{outcome.verdict:<15}{outcome.seconds:6.1f} s  {name}  {outcome.why}".rstrip(), flush=True)
    columns = ("ok", "with stand-ins", "nothing to run", "failed", "not planned")
    print(f"\n{'tier':<6}" + "".join(f"{name:>16}" for name in columns))
    total: Counter[str] = Counter()
    for tier in sorted(counts):
        total.update(counts[tier])
        print(f"{tier:<6}" + "".join(f"{counts[tier][name]:>16}" for name in columns))
    print(f"{'all':<6}" + "".join(f"{total[name]:>16}" for name in columns))
    for cause, number in causes.most_common():
        print(f"{number:>6}  {cause}")
    return not total["failed"] and not total["not planned"]


def show(tally: Tally, seconds: float) -> None:
    columns = ("clean", "names what is missing", "crash")
    print(f"{'tier':<6}" + "".join(f"{name:>24}" for name in columns))
    total: Counter[str] = Counter()
    for tier in sorted(tally.verdicts):
        counts = tally.verdicts[tier]
        total.update(counts)
        print(f"{tier:<6}" + "".join(f"{counts[name]:>24}" for name in columns))
    print(f"{'all':<6}" + "".join(f"{total[name]:>24}" for name in columns))
    for title, counter in (("pass types that are missing", tally.passes), ("other errors", tally.others)):
        if counter:
            print(f"\n{title} (files)")
            for name, number in sorted(counter.items(), key=lambda item: (-item[1], item[0])):
                print(f"{number:>6}  {name}")
    for fault in tally.faults:
        print(f"FAULT {fault}")
    print(f"\n{sum(total.values())} files in {seconds:.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", action="store_true", help="run the clean ones too, cut down")
    parser.add_argument("--only", default="", metavar="TEXT", help="with --run: files whose path has this in it")
    parser.add_argument("--limit", type=float, default=120, metavar="S", help="with --run: seconds for each file")
    parser.add_argument("--cache-dir", type=Path, help="with --run: the cache they share; default: one of their own")
    args = parser.parse_args()
    folder = args.folder
    if not folder.is_dir():
        print(f"error: there is no folder {folder}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    tally = examine(folder)
    show(tally, time.perf_counter() - start)
    ran = True
    if args.run:
        with tempfile.TemporaryDirectory(prefix="recipes-cache-") as place:
            print()
            ran = run_all(folder, args.cache_dir or Path(place), args.limit, args.only)
    return 1 if tally.faults or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
