"""Parts that tests run in processes of their own: `python process.py PART ROOT …`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from olive_like.errors import StoreError
from tests.store.helpers import KEY, Cache, produce, read


def compute(root: Path, log: str) -> None:
    """What a run does for a pass: wait for the lock, look again, compute."""
    with Cache(root) as cache:
        artifact = cache.fetch(KEY)
        if artifact is None:
            with cache.lock(KEY):
                artifact = cache.fetch(KEY)
                if artifact is None:
                    with open(log, "a", encoding="utf-8") as file:
                        file.write(f"{os.getpid()}\n")
                    time.sleep(0.2)
                    artifact = produce(cache, content={f"{n}.bin": b"%d" % n * 1000 for n in range(20)})
        assert read(artifact) == {f"{n}.bin": b"%d" % n * 1000 for n in range(20)}
        assert cache.warnings == []
        print(artifact.digest)


def hold(root: Path, _: str) -> None:
    """Hold the lock, a lease and a staging folder until killed."""
    cache = Cache(root)
    with cache.lock(KEY):
        cache.fetch(KEY)
        cache.staging(KEY)
        print("held", flush=True)
        time.sleep(600)


def use(root: Path, seconds: str) -> None:
    """Make or fetch artifacts, and read all of every one, while others remove them."""
    end, rounds = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        with Cache(root) as cache:
            for n in range(8):
                key = f"{(os.getpid() * 7 + n + rounds) % 12:064x}"
                content = {f"{part}.bin": key.encode() * 50 for part in range(5)}
                with cache.lock(key):
                    artifact = cache.fetch(key) or produce(cache, key, content)
                time.sleep(0.002)
                assert read(artifact) == content
            rounds += 1
            assert cache.warnings == [], cache.warnings
    print(rounds)


def collect(root: Path, seconds: str) -> None:
    """Remove everything that may be removed, again and again."""
    end, removed = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        with Cache(root) as cache:
            removed += len(cache.gc(max_size=0).removed)
            assert cache.warnings == [], cache.warnings
    print(removed)


def stuff(root: Path, size: str) -> None:
    """Publish ever more until the disk is full; say how that was reported."""
    with Cache(root) as cache:
        for n in range(1000):
            try:
                produce(cache, f"{n:064x}", {"a.bin": os.urandom(int(size)), "b.bin": b"%d" % n})
            except StoreError as error:
                print(error.message)
                return
            except OSError as error:  # the pass itself had no room for its output
                print(f"pass: {error}")
                return


if __name__ == "__main__":
    parts = {"compute": compute, "hold": hold, "use": use, "collect": collect, "stuff": stuff}
    parts[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
