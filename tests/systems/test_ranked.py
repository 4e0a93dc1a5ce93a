"""The commands that start ranks, one by one; what is shared out where; what is in the key."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from olive_like.canonical import digest
from olive_like.engine.numbering import adopt
from olive_like.engine.process import environment
from olive_like.graph.keys import static_part
from olive_like.graph.model import Node
from olive_like.passes.finetune.adapters import LoRA
from olive_like.passes.prepare.tokenize import TokenizedText
from olive_like.systems import machine, registry
from olive_like.systems.base import Launch, Machine
from olive_like.systems.hosts import read_hostfile
from olive_like.systems.local import Local

LAPTOP = Machine(cores=8, memory=16 << 30)
BOX = Machine(cores=64, memory=512 << 30, gpus=("H100",) * 8)
PYTHON = [sys.executable, "-P", "-m"]


def launch(settings: dict[str, Any], here: Machine = LAPTOP, jobs: int | None = None) -> Launch:
    settings = dict(settings)
    cls = registry.load(settings.pop("type"))
    return cls.launch(cls.Config.model_validate(settings), here, jobs)


def troubles(settings: dict[str, Any], here: Machine = LAPTOP) -> str:
    settings = dict(settings)
    cls = registry.load(settings.pop("type"))
    found = cls.troubles(cls.Config.model_validate(settings), here)
    return " | ".join(f"{trouble.message}. {trouble.hint}" for trouble in found)


@pytest.fixture
def hostfile(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("# the rack\nnode1 slots=8\nnode2 slots=8\n\nnode3 slots=8\nnode4 slots=8\n")
    return path


ONE_MACHINE: list[tuple[dict[str, Any], Machine, list[str]]] = [
    (
        {"type": "torchrun", "ranks": 2}, LAPTOP,
        [*PYTHON, "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--master-port={port}",
         "-m"],
    ),
    (
        {"type": "torchrun", "launcher_args": ["--max-restarts=0"]}, BOX,
        [*PYTHON, "torch.distributed.run", "--nproc-per-node=8", "--master-addr=127.0.0.1", "--master-port={port}",
         "--max-restarts=0", "-m"],
    ),
    (
        {"type": "fsdp", "ranks": 2, "main_port": 4000}, LAPTOP,
        [*PYTHON, "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--master-port=4000",
         "-m"],
    ),
    (
        {"type": "deepspeed", "stage": 3, "ranks": 2, "offload": "cpu"}, LAPTOP,
        [*PYTHON, "deepspeed.launcher.runner", "--hostfile=none", "--num_gpus=2", "--master_port={port}",
         "--no_local_rank", "--module"],
    ),
    (
        {"type": "deepspeed", "devices": [2, 3]}, BOX,
        [*PYTHON, "deepspeed.launcher.runner", "--hostfile=none", "--master_port={port}",
         "--no_local_rank", "--module"],
    ),
    (
        {"type": "deepspeed", "ranks": 2, "launcher": "torchrun", "device": "cpu"}, BOX,
        [*PYTHON, "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--master-port={port}",
         "-m"],
    ),
    (
        {"type": "cuda", "gpus_per_pass": 4}, BOX,
        [*PYTHON, "torch.distributed.run", "--nproc-per-node=4", "--master-addr=127.0.0.1", "--master-port={port}",
         "-m"],
    ),
    ({"type": "cuda"}, BOX, []),
    ({"type": "local"}, BOX, []),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "here", "command"), ONE_MACHINE, ids=lambda value: str(value)[:60])
def test_commands_on_one_machine(settings: dict[str, Any], here: Machine, command: list[str]) -> None:
    made = launch(settings, here)
    assert list(made.command) == command
    assert made.hosts == ()


RENDEZVOUS = ["--nnodes=4", "--nproc-per-node=8", "--rdzv-backend=c10d", "--rdzv-endpoint=node1:29500",
              "--rdzv-id=olive-like"]  # fmt: skip
SRUN = ["srun", "--nodes=4"]
NAMED = ["--nodelist=node1,node2,node3,node4", "--kill-on-bad-exit=1", "--export=ALL"]
MANY_MACHINES: list[tuple[str, str | None, list[str]]] = [
    ("deepspeed", None,
     [*PYTHON, "deepspeed.launcher.runner", "--hostfile=HOSTS", "--launcher=pdsh", "--master_addr=node1",
      "--master_port=29500", "--force_multi", "--no_local_rank", "--module"]),
    ("deepspeed", "openmpi",
     [*PYTHON, "deepspeed.launcher.runner", "--hostfile=HOSTS", "--launcher=openmpi", "--master_addr=node1",
      "--master_port=29500", "--force_multi",
      "--launcher_args=-x PYTHONSAFEPATH -x DS_ACCELERATOR -x MASTER_ADDR -x MASTER_PORT", "--module"]),
    ("deepspeed", "mpich",
     [*PYTHON, "deepspeed.launcher.runner", "--hostfile=HOSTS", "--launcher=mpich", "--master_addr=node1",
      "--master_port=29500", "--force_multi", "--launcher_args=-genvlist PYTHONSAFEPATH,DS_ACCELERATOR", "--module"]),
    ("deepspeed", "slurm", [*SRUN, "--ntasks=32", "--ntasks-per-node=8", *NAMED, *PYTHON]),
    ("torchrun", "slurm",
     [*SRUN, "--ntasks=4", "--ntasks-per-node=1", *NAMED, *PYTHON, "torch.distributed.run", *RENDEZVOUS, "-m"]),
    ("fsdp", "pdsh",
     ["pdsh", "-S", "-R", "ssh", "-w", "node1,node2,node3,node4", "env", "PYTHONSAFEPATH=1", *PYTHON,
      "torch.distributed.run", *RENDEZVOUS, "-m"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "launcher", "command"), MANY_MACHINES)
def test_commands_on_several_machines(kind: str, launcher: str | None, command: list[str], hostfile: Path) -> None:
    settings = {"type": kind, "hostfile": str(hostfile), **({"launcher": launcher} if launcher else {})}
    made = launch(settings, BOX)
    assert list(made.command) == [part.replace("HOSTS", str(hostfile)) for part in command]
    assert made.ranks == 32
    assert made.hosts == ("node1", "node2", "node3", "node4")
    assert made.threads == 64 // 8


def test_a_slurm_allocation_needs_no_hostfile() -> None:
    made = launch({"type": "deepspeed", "launcher": "slurm", "nodes": 4, "ranks": 32}, BOX)
    assert made.command[:5] == ("srun", "--nodes=4", "--ntasks=32", "--ntasks-per-node=8", "--kill-on-bad-exit=1")
    assert len(made.hosts) == 4
    torchrun = launch({"type": "torchrun", "launcher": "slurm", "nodes": 4}, BOX)
    assert torchrun.ranks == 32
    assert "--rdzv-endpoint={host}:29500" in torchrun.command
    with pytest.raises(ValidationError, match="evenly"):
        launch({"type": "torchrun", "launcher": "slurm", "nodes": 4, "ranks": 6}, BOX)


def test_ranks_have_the_system_to_themselves() -> None:
    with pytest.raises(ValidationError, match="slots is 1"):
        launch({"type": "torchrun", "ranks": 2, "slots": 2})


def test_what_is_started(hostfile: Path) -> None:
    """Devices, threads and slots, and how a pass runs that cannot be distributed."""
    made = launch({"type": "torchrun"}, BOX)
    assert made.devices == tuple(f"cuda:{i}" for i in range(8))
    assert (made.ranks, made.threads, made.slots, made.warm) == (8, 8, 1, False)
    assert made.single is not None
    assert (made.single.command, made.single.ranks, made.single.threads) == ((), 1, 64)
    two = launch({"type": "deepspeed", "ranks": 2})
    assert (two.devices, two.threads, two.env["DS_ACCELERATOR"]) == (("cpu",), 4, "cpu")
    cuda = launch({"type": "cuda"}, BOX)
    assert (cuda.slots, len(cuda.devices), cuda.threads) == (8, 8, 8)
    assert launch({"type": "cuda", "devices": [1, 5]}, BOX).devices == ("cuda:1", "cuda:5")
    fours = launch({"type": "cuda", "gpus_per_pass": 4}, BOX)
    assert (fours.slots, fours.ranks, len(fours.devices)) == (2, 4, 8)
    assert launch({"type": "cuda"}, BOX, jobs=2).slots == 2
    gpu = [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}]
    olive = launch({"type": "LocalSystem", "accelerators": gpu}, BOX)
    assert (olive.slots, olive.devices[0]) == (8, "cuda:0")
    assert olive.options["execution_providers"] == ["CUDAExecutionProvider"]


ABSENT: list[dict[str, Any]] = [
    {"type": "cuda"},
    {"type": "torchrun", "ranks": 2, "device": "gpu"},
    {"type": "LocalSystem", "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}]},
]


@pytest.mark.parametrize("settings", ABSENT, ids=lambda s: s["type"])
def test_without_a_gpu_it_is_said_what_was_looked_for(settings: dict[str, Any]) -> None:
    said = troubles(settings)
    assert "no GPU was found" in said
    assert "/proc/driver/nvidia" in said
    assert "CUDA_VISIBLE_DEVICES" in said
    assert troubles(settings, BOX) == ""


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"type": "cuda", "devices": [8]}, "no GPU 8: the machine has 8 GPUs, numbers 0 to 7"),
        ({"type": "deepspeed", "ranks": 16}, "16 ranks need as many GPUs; there are 8"),
        ({"type": "cuda", "devices": [0, 1], "gpus_per_pass": 4}, "4 ranks need as many GPUs; there are 2"),
        ({"type": "deepspeed", "launcher": "pdsh"}, "needs a hostfile"),
        ({"type": "torchrun", "nodes": 2}, "launcher: slurm"),
        ({"type": "torchrun", "hostfile": "/nowhere/hosts"}, "there is no hostfile /nowhere/hosts"),
    ],
)
def test_troubles(settings: dict[str, Any], part: str) -> None:
    assert part in troubles(settings, BOX)


def test_a_program_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no program srun" in troubles({"type": "deepspeed", "launcher": "slurm", "nodes": 2}, BOX)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("one slots=8\none slots=4\n", "2: one stands there twice"),
        ("one slots\n", "1: a line is `name slots=8`"),
        ("# nobody\n", "names no machine"),
    ],
)
def test_wrong_hostfiles(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(ValueError, match="hosts") as caught:
        read_hostfile(tmp_path / "hosts")
    assert part in str(caught.value)
    with pytest.raises(ValidationError, match="hosts"):
        launch({"type": "deepspeed", "hostfile": str(tmp_path / "hosts")})


def test_ranks_that_contradict_the_hostfile(hostfile: Path) -> None:
    with pytest.raises(ValidationError, match="ranks is 2, the hostfile has 32 slots"):
        launch({"type": "deepspeed", "hostfile": str(hostfile), "ranks": 2})


# DeepSpeed's settings


def zero_of(settings: dict[str, Any], here: Machine = LAPTOP) -> dict[str, Any]:
    found: dict[str, Any] = launch({"type": "deepspeed", "ranks": 2, **settings}, here).options["deepspeed"]
    return found


def test_stages_and_offload() -> None:
    assert zero_of({})["zero_optimization"] == {"stage": 2}
    three = zero_of({"stage": 3, "offload": "cpu"})
    assert three["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert three["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert three["zero_force_ds_cpu_optimizer"] is False
    two = zero_of({"stage": 2, "offload": "nvme", "nvme_path": "/fast"}, BOX)
    assert two["zero_optimization"]["offload_optimizer"] == {"device": "nvme", "nvme_path": "/fast", "pin_memory": True}
    assert "offload_param" not in two["zero_optimization"]
    assert two["optimizer"]["type"] == "AdamW"
    with pytest.raises(ValidationError, match="nvme_path"):
        zero_of({"offload": "nvme"})


@pytest.mark.parametrize("as_file", [True, False])
def test_a_whole_configuration_is_merged(as_file: bool, tmp_path: Path) -> None:
    given: Any = {
        "zero_optimization": {"stage": 3, "overlap_comm": False},
        "steps_per_print": 7,
        "bf16": {"enabled": True},
    }
    if as_file:
        file = tmp_path / "ds.json"
        file.write_text(json.dumps(given))
        given = str(file)
    found = zero_of({"ds_config": given})
    assert found["zero_optimization"]["stage"] == 3
    assert found["zero_optimization"]["overlap_comm"] is False
    assert found["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    assert found["bf16"] == {"enabled": True}
    assert found["train_batch_size"] == "auto"


def test_conflicts_are_named() -> None:
    with pytest.raises(ValidationError, match=r"ds_config has zero_optimization.stage: 2, the system means 3"):
        zero_of({"stage": 3, "ds_config": {"zero_optimization": {"stage": 2}}})


# keys


def key(cls: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, here: Machine = LAPTOP) -> str:
    settings = dict(settings)
    system = registry.load(settings.pop("type"))
    monkeypatch.setattr(machine, "this_machine", lambda: here)
    traits = system.traits(system.Config.model_validate(settings))
    if not cls.distributed:
        traits = {**traits, "world_size": 1}
    node = Node("n", cls, cls.__name__, cls.Config(), ())
    return digest(static_part(node, 0, traits, lambda _: ""))


DIFFERENT: list[dict[str, Any]] = [
    {"type": "local"},
    {"type": "cuda"},
    {"type": "torchrun", "ranks": 2},
    {"type": "deepspeed", "ranks": 2},
    {"type": "deepspeed", "ranks": 4},
    {"type": "fsdp", "ranks": 2},
    {"type": "deepspeed", "ranks": 2, "ds_config": {"bf16": {"enabled": True}}},
]


def test_what_changes_numbers_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key(LoRA, settings, monkeypatch) for settings in DIFFERENT}
    assert len(keys) == len(DIFFERENT)
    assert key(LoRA, {"type": "torchrun", "ranks": 2}, monkeypatch, BOX) not in keys  # GPUs by themselves


SAME: list[dict[str, Any]] = [
    {"type": "deepspeed", "ranks": 2, "stage": 1},
    {"type": "deepspeed", "ranks": 2, "stage": 3, "offload": "cpu"},
    {"type": "deepspeed", "ranks": 2, "launcher": "torchrun", "main_port": 4000, "launcher_args": ["-q"]},
    {"type": "deepspeed", "ranks": 2, "ds_config": {"zero_optimization": {"stage": 2, "overlap_comm": True}}},
]


def test_what_does_not_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({key(LoRA, settings, monkeypatch) for settings in SAME}) == 1


def test_a_pass_without_numerics_has_one_key_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({key(TokenizedText, settings, monkeypatch) for settings in DIFFERENT}) == 1


def test_olives_local_system_is_what_its_accelerator_is() -> None:
    gpu = Local.Config(accelerators=[{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}])
    assert Local.traits(gpu)["device"] == "cuda"
    assert Local.traits(Local.Config())["device"] == "cpu"
    here = Local.Config(accelerators=[{"device": "gpu"}], device="cpu")
    assert Local.traits(here)["device"] == "cpu"
    assert Local.troubles(here, LAPTOP) == []


NUMBERED = [
    ({"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (3, 4), None),
    ({"SLURM_PROCID": "9", "SLURM_NTASKS": "32", "SLURM_LOCALID": "1"}, (9, 32), "1"),
    ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, (2, 4), "0"),
    ({"PMI_RANK": "1", "WORLD_SIZE": "2", "MPI_LOCALRANKID": "1"}, (1, 2), "1"),
    ({}, (0, 1), None),
]


@pytest.mark.parametrize(("env", "numbers", "local"), NUMBERED)
def test_a_rank_knows_its_number_whoever_started_it(env: dict[str, str], numbers: Any, local: str | None) -> None:
    env = dict(env)
    assert adopt(env) == numbers
    assert env.get("LOCAL_RANK") == local


@pytest.mark.parametrize(
    ("visible", "devices", "seen"),
    [
        (None, ["cuda:2", "cuda:3"], "2,3"),
        ("4,5,6,7", ["cuda:1", "cuda:3"], "5,7"),
        ("GPU-a,GPU-b", ["cuda:1"], "GPU-b"),
        ("4,5", ["cpu"], "4,5"),
    ],
)
def test_numbers_of_gpus_count_those_that_may_be_seen(visible: str | None, devices: list[str], seen: str) -> None:
    base = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert environment(Launch(), devices, base)["CUDA_VISIBLE_DEVICES"] == seen
