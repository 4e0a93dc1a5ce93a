"""The commands that start ranks, one pure function per launcher. What is to be started is put behind them.

`{port}` stands for a port that is free at the moment of the start, `{host}` for the name of the engine's machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PORT, HOST = "{port}", "{host}"
FIXED_PORT = 29500  # where a port of another machine has to be named, which nobody can ask for


@dataclass(frozen=True)
class Ranks:
    """How many ranks there are, where, and on what."""

    count: int
    gpus: tuple[int, ...] = ()  # of this machine; empty: processors
    hosts: Mapping[str, int] | None = None  # machines -> ranks; None: this one, or Slurm knows
    nodes: int = 1  # how many, where Slurm knows which
    hostfile: str = ""  # where the hosts were read from
    address: str = ""  # of the first machine
    port: int | None = None
    extra: Sequence[str] = ()  # more arguments of the launcher
    env: Mapping[str, str] = field(default_factory=dict)  # variables that all ranks need

    @property
    def machines(self) -> int:
        return len(self.hosts) if self.hosts else self.nodes

    @property
    def elsewhere(self) -> bool:
        """Whether other machines may take part."""
        return self.machines > 1 or bool(self.hosts)

    @property
    def first(self) -> str:
        """Address of rank 0's machine. A job of Slurm runs its script on the first one."""
        if self.hosts:
            return self.address or next(iter(self.hosts))
        return self.address or (HOST if self.elsewhere else "127.0.0.1")

    @property
    def each(self) -> int:
        """Ranks per machine."""
        return self.count // self.machines

    @property
    def at(self) -> str:
        """The port of rank 0."""
        return str(self.port or (FIXED_PORT if self.elsewhere else PORT))


def torchrun(ranks: Ranks) -> tuple[str, ...]:
    """PyTorch's launcher on this machine."""
    return (
        *_python("torch.distributed.run"),
        f"--nproc-per-node={ranks.count}",
        f"--master-addr={ranks.first}",
        f"--master-port={ranks.at}",
        *ranks.extra,
        "-m",
    )


def torchrun_by_slurm(ranks: Ranks) -> tuple[str, ...]:
    """One of PyTorch's launchers on each machine of a Slurm allocation; they find each other at the first."""
    return (
        *_srun(ranks, tasks=1),
        *_python("torch.distributed.run"),
        *_rendezvous(ranks),
        *ranks.extra,
        "-m",
    )


def torchrun_by_pdsh(ranks: Ranks) -> tuple[str, ...]:
    """The same over ssh."""
    variables = [f"{name}={value}" for name, value in ranks.env.items()]
    return (
        "pdsh", "-S", "-R", "ssh", "-w", ",".join(ranks.hosts or ()), "env", *variables,
        *_python("torch.distributed.run"), *_rendezvous(ranks), *ranks.extra, "-m",
    )  # fmt: skip


def deepspeed(ranks: Ranks) -> tuple[str, ...]:
    """DeepSpeed's launcher on this machine. Of GPUs it takes those that CUDA_VISIBLE_DEVICES names, unless told."""
    where = () if ranks.gpus else (f"--num_gpus={ranks.count}",)
    return (
        *_python("deepspeed.launcher.runner"),
        "--hostfile=none",  # or it would take /job/hostfile where a cluster has one
        *where,
        f"--master_port={ranks.at}",
        *ranks.extra,
        "--no_local_rank",
        "--module",
    )


def deepspeed_over(launcher: str, ranks: Ranks) -> tuple[str, ...]:
    """DeepSpeed's launcher for several machines, by pdsh, Open MPI or MPICH."""
    names = [*ranks.env, "MASTER_ADDR", "MASTER_PORT"]
    handed_on = {
        "openmpi": [f"--launcher_args={' '.join(f'-x {name}' for name in names)}"],
        "mpich": [f"--launcher_args=-genvlist {','.join(ranks.env)}"] if ranks.env else [],
    }
    return (
        *_python("deepspeed.launcher.runner"),
        f"--hostfile={ranks.hostfile}",
        f"--launcher={launcher}",
        f"--master_addr={ranks.first}",
        f"--master_port={ranks.at}",
        "--force_multi",
        *handed_on.get(launcher, ()),
        *ranks.extra,
        *(("--no_local_rank",) if launcher == "pdsh" else ()),
        "--module",
    )


def slurm(ranks: Ranks) -> tuple[str, ...]:
    """Slurm starts every rank itself. (DeepSpeed's launcher for Slurm cannot start a module.)"""
    return (*_srun(ranks, tasks=ranks.each), *ranks.extra, sys.executable, "-P", "-m")


def _srun(ranks: Ranks, tasks: int) -> tuple[str, ...]:
    named = (f"--nodelist={','.join(ranks.hosts)}",) if ranks.hosts else ()
    return (
        "srun", f"--nodes={ranks.machines}", f"--ntasks={ranks.machines * tasks}", f"--ntasks-per-node={tasks}",
        *named, "--kill-on-bad-exit=1", "--export=ALL",
    )  # fmt: skip


def _rendezvous(ranks: Ranks) -> tuple[str, ...]:
    return (
        f"--nnodes={ranks.machines}",
        f"--nproc-per-node={ranks.each}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={ranks.first}:{ranks.at}",
        "--rdzv-id=olive-like",
    )


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", module)
