"""A plan says how ranks are started and what cannot work here; a run refuses it before anything starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import olive_like
from olive_like.errors import WorkflowError
from olive_like.graph.draw import draw
from olive_like.graph.model import Node
from olive_like.graph.places import place_of
from olive_like.passes import registry
from olive_like.passes.pretend.null import Null
from olive_like.systems import registry as systems
from olive_like.systems.base import Machine
from olive_like.systems.cuda import Cuda
from olive_like.systems.machine import this_machine

NO_GPU = Machine(cores=2, memory=1 << 30)
GPU = {"type": "LocalSystem", "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}]}


def flow(folder: Path, system: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_model": {"type": "Null"},
        "systems": {"here": system},
        "system": "here",
        "passes": {"a": {"type": "Null", "bytes": 10}},
        "output_dir": str(folder / "out"),
        "cache_dir": str(folder / "cache"),
    }


@pytest.fixture
def no_gpu() -> None:
    if this_machine().gpus:
        pytest.skip("this machine has a GPU")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("system", [GPU, {"type": "cuda"}])
def test_a_gpu_that_is_not_there(tmp_path: Path, system: dict[str, Any]) -> None:
    assert olive_like.check(flow(tmp_path, system)).ok  # the file is right; it is for another machine
    plan = olive_like.plan(flow(tmp_path, system))
    assert plan.nodes["a"].document["system"]["device"] == "cuda"
    assert "here cannot work here: no GPU was found" in draw(plan)
    document = json.loads(json.dumps(plan.to_json()))
    assert "no NVIDIA driver" in document["systems"]["here"]["troubles"][0]["message"]
    with pytest.raises(WorkflowError, match="no GPU was found"):
        olive_like.run(flow(tmp_path, system))
    assert not (tmp_path / "out").exists()
    assert olive_like.run(flow(tmp_path, {**system, "device": "cpu"})).ok


def test_passes_without_numerics_need_no_gpu() -> None:
    class Plain(Null):
        traits = ()

    def troubles(cls: type[Null]) -> int:
        node = Node("n", cls, "Null", cls.Config(), ())
        return len(place_of(Cuda, Cuda.Config(), NO_GPU, [node]).troubles)

    assert (troubles(Null), troubles(Plain)) == (1, 0)


def test_a_plan_shows_how_ranks_are_started(tmp_path: Path) -> None:
    system = {"type": "torchrun", "ranks": 2, "device": "cpu"}
    plan = olive_like.plan(flow(tmp_path, system))
    assert "here: 2 ranks on cpu: " in draw(plan)
    launch = plan.to_json()["systems"]["here"]["launch"]
    assert launch["ranks"] == 2
    assert "torch.distributed.run" in launch["command"]


def test_a_pass_that_cannot_be_distributed_runs_as_one_process(tmp_path: Path) -> None:
    result = olive_like.run(flow(tmp_path, {"type": "torchrun", "ranks": 2, "device": "cpu"}))
    assert result.ok
    assert os.path.getsize(tmp_path / "out" / "a" / "null.bin") == 10
    again = olive_like.run(flow(tmp_path, {"type": "local"}))
    assert again.passes["a"].status == "hit"  # the same on whatever system


@pytest.mark.parametrize(
    ("name", "system", "said"),
    [
        ("PiSSA", {"type": "deepspeed", "stage": 3}, "n: PiSSA changes weights that ranks share out here"),
        ("PiSSA", {"type": "deepspeed", "stage": 2}, None),
        ("QLoRA", {"type": "fsdp"}, "n: QLoRA does not train under FSDP here"),
        ("QLoRA", {"type": "deepspeed", "stage": 3}, None),
        ("LoRA", {"type": "fsdp"}, None),
    ],
)
def test_what_does_not_go_together_is_told_by_the_plan(name: str, system: dict[str, Any], said: str | None) -> None:
    pytest.importorskip("deepspeed")
    cls = registry.load(name)
    node = Node("n", cls, name, cls.Config(), ())
    kind = systems.load(system.pop("type"))
    place = place_of(kind, kind.Config(ranks=2, device="cpu", **system), NO_GPU, [node])
    assert [trouble.message for trouble in place.troubles] == ([said] if said else [])
