"""A launcher like torchrun: every rank in a session of its own, its number in the environment."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    count, *arguments = sys.argv[1:]
    if count == "broken":
        print("no rendezvous today")
        return 7
    ranks = [
        subprocess.Popen(
            [sys.executable, *arguments, "--local_rank=0"],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": count},
            start_new_session=True,
        )
        for rank in range(int(count))
    ]
    return max(abs(rank.wait()) for rank in ranks)


if __name__ == "__main__":
    sys.exit(main())
