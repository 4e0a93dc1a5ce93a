"""Wall time of a search of 24 points over passes that sleep, beside what the distinct passes need.

    python benchmarks/search.py [--slots N] [--seconds S]

Three settings (rank of the training, quantiser, block size) of a chain of three passes make 3 + 6 + 24 distinct
passes. The search should take at most 1.1 times the sum of their seconds divided by the slots.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import olive_like


def flow(seconds: float) -> dict[str, object]:
    return {
        "input_model": {"type": "Null"},
        "system": "null",
        "evaluators": {"e": {"metrics": ["size_on_disk"]}},
        "evaluator": "e",
        "passes": {
            "train": {"type": "Null", "seconds": 4 * seconds, "bytes": {"choice": [8, 16, 32]}},
            "quantise": {"type": "Null", "seconds": 2 * seconds, "value": {"choice": ["rtn", "gptq"]}},
            "block": {"type": "Null", "seconds": seconds, "bytes": {"choice": [16, 32, 64, 128]}},
        },
        "search_strategy": {"sampler": "grid"},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="of the shortest pass")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        result = olive_like.run(
            flow(options.seconds), jobs=options.slots, cache_dir=Path(place) / "cache", output_dir=Path(place) / "out"
        )
        wall = time.perf_counter() - begun
        lines = [line for file in Path(place).glob("cache/runs/*/events.jsonl") for line in file.open()]
    done = [event for line in lines if (event := json.loads(line))["event"] == "done"]
    keys = Counter(event["key"] for event in done)
    needed = options.seconds * (3 * 4 + 6 * 2 + 24) / options.slots
    assert result.search is not None
    print(f"{len(result.search['trials'])} points, {len(keys)} distinct passes with their measurements, "
          f"{sum(count > 1 for count in keys.values())} of them made twice")  # fmt: skip
    print(
        f"{wall:.2f} s, the passes alone {needed:.2f} s on {options.slots} slots: factor {wall / needed:.3f} (bar 1.1)"
    )
    return 0 if wall <= 1.1 * needed and max(keys.values()) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
