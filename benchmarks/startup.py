"""How light the start is: `python benchmarks/startup.py [--runs 15]`.

`--help`, `--version`, `check` and `plan` of a 10-pass workflow beside `python -c pass` in the same environment
(medians of wall time, taken in turns, the command's output thrown away), and `plan` of 5,000 and 10,000 passes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OLIVE = [str(Path(sys.executable).with_name("olive-like"))]
BARS = {"--help": 4, "--version": 4, "check": 20, "plan": 20}


def graph(size: int) -> dict[str, Any]:
    """Chains, fans and joins of pretend passes."""
    passes: dict[str, Any] = {}
    for i in range(size):
        step: dict[str, Any] = {"type": "Null", "value": i}
        if i and i % 10 in (3, 4, 5):
            step["input"] = f"p{i - i % 10 + 2}"
        elif i > 7 and i % 10 == 0:
            step["inputs"] = [f"p{i - 1}", f"p{i - 7}"]
        passes[f"p{i}"] = step
    return {"input_model": {"type": "Null"}, "passes": passes}


def wall(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {}
        for size in (10, 5000, 10000):
            files[size] = folder / f"{size}.json"
            files[size].write_text(json.dumps(graph(size)))
        cache = ["--cache-dir", str(folder / "cache")]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import networkx": [sys.executable, "-c", "import networkx"],
            "--help": [*OLIVE, "--help"],
            "--version": [*OLIVE, "--version"],
            "check": [*OLIVE, "check", str(files[10])],
            "plan": [*OLIVE, "plan", str(files[10]), *cache],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(args.runs):
            for name, command in commands.items():
                times[name].append(wall(command))
        base = statistics.median(times["python -c pass"])
        for name, taken in times.items():
            bar = f"  (bar {BARS[name]} x)" if name in BARS else ""
            middle = statistics.median(taken)
            print(f"{name:16} {1e3 * middle:7.1f} ms  {middle / base:5.1f} x{bar}")
        large = {}
        for size in (5000, 10000):
            large[size] = min(wall([*OLIVE, "plan", str(files[size]), "--json", *cache]) for _ in range(3))
            print(f"plan of {size:6} passes: {large[size]:.2f} s")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"10,000 / 5,000: {large[10000] / large[5000]:.2f} (bar 2.3), peak memory {peak:.0f} MB (bar 500)")


if __name__ == "__main__":
    main()
