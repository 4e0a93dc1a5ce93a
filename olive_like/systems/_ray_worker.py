"""`python -m olive_like.systems._ray_worker --address=A --resources=JSON -m MODULE …`: a module, run by a Ray cluster.

It lasts as long as the module runs. What the module prints comes out here. With `--apart=1` the module's machine need
not see this one's files.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any

from olive_like.systems import _ray_cluster

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Ask the cluster for a place, and wait for what runs there."""
    at = arguments.index("-m")
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments[:at])
    asked = json.loads(options["resources"])
    with contextlib.ExitStack() as stack:
        address = options["address"]
        if address == "local":
            address = stack.enter_context(_ray_cluster.joined(_engine_of(arguments)))
        import ray  # it reads how to prove who one is when it is imported, and joining a cluster says that

        ray.init(address=address, configure_logging=False, log_to_driver=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(1))
        try:
            if "apart" in options:
                from olive_like.systems import _ray_apart

                _ray_apart.serve(arguments[at + 1], arguments[at + 2 :], asked)
                return 0
            task = ray.remote(max_retries=0, **asked)(_run)
            return int(ray.get(task.remote(["-P", *arguments[at:]])))
        finally:
            ray.shutdown()


def _engine_of(arguments: list[str]) -> int:
    return int(arguments[arguments.index("--engine") + 1])


def _run(arguments: list[str]) -> int:
    """In the cluster's worker: the module in an interpreter of its own, which dies with the worker."""
    child = subprocess.Popen([sys.executable, *arguments], start_new_session=True, preexec_fn=die_with_parent)
    return child.wait()


def die_with_parent() -> None:
    """For a child, before it becomes another program: not to outlive whoever started it."""
    libc: Any = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
