"""Which rank this process is, whatever started it: MPI and Slurm have names of their own for that."""

from __future__ import annotations

from collections.abc import MutableMapping

# what PyTorch's libraries look for -> what others set, the more exact one first
_NAMES = {
    "RANK": ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID"),
    "WORLD_SIZE": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_NTASKS"),
    "LOCAL_RANK": (
        "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PALS_LOCAL_RANKID", "MV2_COMM_WORLD_LOCAL_RANK",
        "SLURM_LOCALID",
    ),
}  # fmt: skip


def adopt(env: MutableMapping[str, str]) -> tuple[int, int]:
    """Rank and number of ranks; the variables that PyTorch's libraries look for are set where they are not."""
    if "RANK" not in env:
        for name, others in _NAMES.items():
            value = next((env[other] for other in others if other in env), None)
            if value is not None:
                env[name] = value
    return int(env.get("RANK", 0)), int(env.get("WORLD_SIZE", 1))
