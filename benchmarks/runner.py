"""What the runner costs: `python benchmarks/runner.py [--passes 1000 10000] [--gib 1] [--folder DIR]`.

A workflow of hits beside `python -c pass`, the runner's own time per pass of a large graph, and two branches
beside one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from olive_like.api import RunResult, run

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())"]


def flow(folder: Path, passes: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "input_model": {"type": "Null"},
        "system": "null",
        "passes": passes,
        "cache_dir": str(folder / name / "cache"),
        "output_dir": str(folder / name / "out"),
    }


def large(count: int) -> dict[str, Any]:
    """Ten chains that meet at every tenth pass."""
    passes: dict[str, Any] = {}
    for index in range(count):
        above = ["input_model"] if index < 10 else [f"p{index - 10}"]
        if index % 10 == 9 and index > 10:
            above.append(f"p{index - 1}")
        passes[f"p{index}"] = {"type": "Null", "value": index, "inputs": above}
    return passes


def wall(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def hits(folder: Path, gib: float, rounds: int) -> None:
    size = int(gib * 2**30 / 4)
    file = folder / "hits.json"
    passes = {f"p{n}": {"type": "Null", "bytes": size, "value": n} for n in range(4)}
    file.write_text(json.dumps(flow(folder, passes, "hits")))
    wall([*COMMAND, "run", str(file)])
    times = [(wall([sys.executable, "-c", "pass"]), wall([*COMMAND, "run", str(file)])) for _ in range(rounds)]
    bare, ours = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"4 passes, all hits, {gib:g} GiB: {ours * 1000:.0f} ms = {ours / bare:.1f} x `python -c pass` (bar: 25)")


def per_pass(folder: Path, count: int) -> None:
    result = _ok(run(flow(folder, large(count), f"large-{count}"), jobs=2))
    alone = sum(item.seconds for item in result.passes.values()) / 2  # two side by side
    cost = (result.seconds - alone) / count
    print(f"{count:,} Null passes, 2 jobs: {cost * 1000:.2f} ms each beyond the pass (bar: 5), {result.seconds:.1f} s")


def branches(folder: Path) -> None:
    def passes(count: int) -> dict[str, Any]:
        return {f"b{n}": {"type": "Null", "seconds": 2, "value": n, "input": "input_model"} for n in range(count)}

    one = _ok(run(flow(folder, passes(1), "one"), jobs=2)).seconds
    two = _ok(run(flow(folder, passes(2), "two"), jobs=2)).seconds
    print(f"two branches of 2 s, 2 jobs: {two:.2f} s = {two / one:.2f} x one branch (bar: 1.3)")


def _ok(result: RunResult) -> RunResult:
    result.raise_for_status()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", default=None, help="where to work (default: a temporary folder)")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        branches(folder)
        hits(folder, args.gib, args.rounds)
        for count in args.passes:
            per_pass(folder, count)


if __name__ == "__main__":
    main()
