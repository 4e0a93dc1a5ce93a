"""Runs with the shim before libc: `python preloaded.py SHIM FOLDER full|empty ERRNO once|ever`; prints JSON.

One process that forks for every call that is to be the last, or to fail: a start of Python for each would
take minutes.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.store.faults import check_sound, in_child, leftovers, publish
from tests.store.helpers import Cache, produce


def main(library: str, folder: Path, full: bool, code: int, for_ever: bool) -> dict[str, object]:
    shim = ctypes.CDLL(library)
    shim.shim_calls.restype = ctypes.c_long
    template, root, count = folder / "template", folder / "cache", folder / "count"
    if full:
        with Cache(template) as cache:
            produce(cache, "cd" * 32, {"x": b"other"})

    def attempt(at: int) -> None:
        shim.shim_arm(str(root).encode(), ctypes.c_long(at), code, int(for_ever))
        try:
            publish(root)
        finally:
            count.write_text(str(shim.shim_calls()))

    def reset() -> None:
        shutil.rmtree(root, ignore_errors=True)
        if full:
            shutil.copytree(template, root)

    reset()
    in_child(lambda: attempt(0), lambda number, operation: None)
    calls, killed, refused = int(count.read_text()), 0, []
    for n in range(1, calls + 1):
        reset()
        outcome = in_child(lambda: attempt(n), lambda number, operation: None)  # noqa: B023
        assert not outcome.crash, f"call {n} of {calls}: {outcome.crash}"
        killed += outcome.killed
        if outcome.error is not None:
            assert str(root) in outcome.error.message, f"call {n} of {calls}: {outcome.error.message}"
            refused.append(outcome.error.message)
            if not for_ever:  # where nothing can be removed any more, the next run does it
                assert leftovers(root) == [], f"call {n} of {calls}"
        check_sound(root)
    return {"calls": calls, "killed": killed, "refused": refused}


if __name__ == "__main__":
    _, shim_path, where, filled, number, how_long = sys.argv
    print(json.dumps(main(shim_path, Path(where), filled == "full", int(number), how_long == "ever")))
