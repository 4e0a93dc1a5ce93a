"""What this machine has, and the two systems that need nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.systems import machine
from olive_like.systems.base import Machine
from olive_like.systems.local import Local, bytes_of
from olive_like.systems.null import NullSystem


@pytest.fixture
def groups(tmp_path, monkeypatch) -> Path:
    """A control group of our own making, two levels deep."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_own_groups", lambda: [inner, inner.parent, tmp_path])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def test_cores_without_a_quota(groups):
    assert machine.cores() == 8


@pytest.mark.parametrize(
    ("place", "quota", "cores"),
    [
        ("outer/inner/cpu.max", "200000 100000", 2), ("outer/cpu.max", "350000 100000", 3),
        ("outer/cpu.max", "max 100000", 8), ("cpu.max", "50000 100000", 1), ("cpu.max", "1600000 100000", 8),
    ],
)  # fmt: skip
def test_a_quota_at_any_level_counts(groups, place, quota, cores):
    (groups / place).write_text(quota + "\n")
    assert machine.cores() == cores


def test_the_older_groups(groups):
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("1073741824\n")
    assert machine.cores() == 3
    assert machine.memory() == 1 << 30


def test_memory_is_the_smallest_limit(groups):
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.memory() == total
    (groups / "outer" / "memory.max").write_text("2147483648\n")
    (groups / "outer" / "inner" / "memory.max").write_text("max\n")
    assert machine.memory() == 2 << 30


def test_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_NVIDIA", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus() == ()
    for index, name in enumerate(["One", "Two"]):
        (tmp_path / f"0000:0{index}:00.0").mkdir()
        (tmp_path / f"0000:0{index}:00.0" / "information").write_text(f"Model: \t {name}\nIRQ: 3\n")
    assert machine.gpus() == ("One", "Two")
    for visible, names in [("1", ("Two",)), ("", ()), ("-1", ()), ("0,1", ("One", "Two")), ("GPU-abc", ("One",))]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert machine.gpus() == names


def test_this_machine_is_plausible():
    here = machine.this_machine()
    assert 1 <= here.cores <= (os.cpu_count() or 1)
    assert here.memory > 1 << 20


@pytest.mark.parametrize(
    ("written", "size"),
    [("16GB", 16 << 30), ("16 GiB", 16 << 30), ("512m", 512 << 20), ("1.5K", 1536), ("7", 7), ("7B", 7), (9, 9)],
)
def test_sizes(written, size):
    assert bytes_of(written) == size


@given(st.text(max_size=8))
def test_a_size_is_a_number_or_refused(text):
    try:
        size = bytes_of(text)
    except ValueError:
        size = 0
    assert size >= 0


HERE = Machine(cores=8, memory=8 << 30)


def test_slots_share_the_cores():
    assert Local.launch(Local.Config(), HERE).threads == 8
    two = Local.launch(Local.Config(slots=2), HERE)
    assert (two.slots, two.threads) == (2, 4)
    assert Local.launch(Local.Config(slots=2), HERE, jobs=4).threads == 2
    assert Local.launch(Local.Config(slots=20), HERE).threads == 1
    assert Local.launch(Local.Config(threads=3), HERE).threads == 3


def test_who_asked_for_fewer_threads_gets_no_more(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    here = Machine(cores=8, memory=8 << 30, most_threads=machine.most_threads())
    assert Local.launch(Local.Config(), here).threads == 3
    assert Local.launch(Local.Config(slots=4), here).threads == 2
    assert Local.launch(Local.Config(threads=8), here).threads == 8
    for said in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert machine.most_threads() is None


def test_more_memory_than_there_is():
    assert Local.troubles(Local.Config(memory="4GB"), HERE) == []
    (trouble,) = Local.troubles(Local.Config(memory="16GB"), HERE)
    assert "16.0 GiB" in trouble.message


def test_providers_by_their_short_names():
    config = Local.Config(accelerators=[{"device": "gpu", "execution_providers": ["CUDA", "CPUExecutionProvider"]}])
    assert config.accelerators[0].execution_providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert Local.launch(config, HERE).options["execution_providers"][0] == "CUDAExecutionProvider"


def test_the_pretend_system_is_what_it_is_told():
    config = NullSystem.Config(device="cuda", world_size=4, slots=3)
    assert NullSystem.traits(config) == {"device": "cuda", "world_size": 4}
    assert NullSystem.launch(config, HERE).slots == 3
    assert NullSystem.launch(NullSystem.Config(), HERE).slots == 8
