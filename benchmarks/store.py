"""What the store costs: `python benchmarks/store.py [--gib 2] [--folder DIR]`.

Publishing beside `cp` and `fsync` of the same file, hashing beside the blake3 package's own multithreaded
file hash, and the time of small passes and of hits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from olive_like.store import Record, Store, seal

_BLOCK = 8 << 20


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_file(path: Path, size: int) -> None:
    block = os.urandom(_BLOCK)
    with open(path, "wb") as file:
        for _ in range(size // _BLOCK):
            file.write(block)
        os.fsync(file.fileno())


def cp_and_sync(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def publish(root: Path, source: Path, key: str) -> tuple[float, float]:
    """Seconds for writing the artifact and publishing it, and for the publishing alone."""
    with Store(root) as store:
        start = time.perf_counter()
        staging = store.staging(key)
        subprocess.run(["cp", "--reflink=never", str(source), str(staging / "model.bin")], check=True)
        written = time.perf_counter()
        store.commit(key, staging, seal(staging, "null", {"key": key}, {}), Record(key))
        done = time.perf_counter()
    return done - start, done - written


def publishing(folder: Path, source: Path) -> None:
    copies, wholes, alone = [], [], []
    for attempt in range(3):
        copies.append(timed(lambda: cp_and_sync(source, folder / "copy")))
        (folder / "copy").unlink()
        whole, part = publish(folder / "cache", source, f"{attempt:064x}")
        wholes.append(whole)
        alone.append(part)
        shutil.rmtree(folder / "cache")
    print(f"cp + fsync                {min(copies):7.2f} s   (of {', '.join(f'{t:.2f}' for t in copies)})")
    print(f"write + seal + commit     {min(wholes):7.2f} s   {min(wholes) / min(copies):.2f} x   (bar: 1.5 x)")
    print(f"seal + commit alone       {min(alone):7.2f} s   {min(alone) / min(copies):.2f} x")


def hashing(folder: Path, source: Path) -> None:
    size = source.stat().st_size
    theirs = min(timed(lambda: blake3(max_threads=blake3.AUTO).update_mmap(source).digest()) for _ in range(3))
    ours = []
    for attempt in range(3):
        with Store(folder / f"inputs-{attempt}") as store:
            ours.append(timed(lambda: store.file_digest(source)))
    with Store(folder / "inputs-0") as store:
        known = timed(lambda: store.file_digest(source))
    print(f"blake3's own file hash    {size / theirs / 1e9:7.2f} GB/s")
    print(f"first digest of an input  {size / min(ours) / 1e9:7.2f} GB/s   {theirs / min(ours):.2f} x   (bar: 0.8 x)")
    print(f"the second time           {known * 1000:7.2f} ms")


def memory(folder: Path, source: Path) -> None:
    """Peak memory of a process that publishes."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from benchmarks.store import publish\n"
        "publish(Path(sys.argv[2]), Path(sys.argv[3]), '0' * 64)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).resolve().parents[1]), str(folder / "cache"), str(source)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"peak memory of publishing {peak / 1024:7.0f} MiB (bar: 200 MB)")
    shutil.rmtree(folder / "cache")


def small_passes(folder: Path, count: int) -> None:
    (folder / "probe").write_bytes(b"x" * 64)
    descriptor = os.open(folder / "probe", os.O_RDWR)
    sync = min(timed(lambda: (os.pwrite(descriptor, b"y", 0), os.fsync(descriptor))) for _ in range(20))
    os.close(descriptor)
    with Store(folder / "cache") as store:
        spent = []
        for n in range(count):
            key = f"{n:064x}"
            staging = store.staging(key)
            (staging / "null.bin").write_bytes(key.encode())
            start = time.perf_counter()
            with store.lock(key):
                store.peek(key)
                store.commit(key, staging, seal(staging, "null", {}, {}), Record(key, workflow="w", node=key))
            spent.append(time.perf_counter() - start)
        spent.sort()
        print(f"one fsync on this disk    {sync * 1000:7.2f} ms")
        print(f"lock + peek + seal + commit of 64 bytes: median {spent[count // 2] * 1000:.2f} ms, ", end="")
        print(f"mean {sum(spent) / count * 1000:.2f} ms   (bar: 1.5 ms)")
    with Store(folder / "cache") as store:
        start = time.perf_counter()
        for n in range(4):
            store.peek(f"{n:064x}")
            store.fetch(f"{n:064x}")
        store.close()
        print(f"four hits, opened to closed {(time.perf_counter() - start) * 1000:5.2f} ms   (bar: 20 ms)")
    with Store(folder / "cache") as store:
        for name, work in (("peek", store.peek), ("fetch", store.fetch)):
            seconds = timed(lambda: [work(f"{n:064x}") for n in range(count)])  # noqa: B023
            print(f"{name:<25} {seconds / count * 1e6:7.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the big artifact")
    parser.add_argument("--count", type=int, default=1000, help="how many small passes")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        small_passes(folder, args.count)
        shutil.rmtree(folder / "cache")
        source = folder / "source"
        write_file(source, int(args.gib * (1 << 30)))
        publishing(folder, source)
        hashing(folder, source)
        memory(folder, source)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
