"""What is said of a machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from olive_like.cli import main
from olive_like.systems import doctor, folder, graphics, machine, processor, registry

XEON = "processor\t: 0\nmodel name\t: One\nflags\t\t: avx2 avx512f avx512bw avx512vl avx512dq amx_tile amx_bf16\n"


def test_one_document_with_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--cache-dir", str(tmp_path / "not yet")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"python", "cpu", "memory", "gpu", "libraries", "hub", "cache", "systems"}
    assert found["cpu"]["cores"] >= 1
    assert found["libraries"]["pydantic" if "pydantic" in found["libraries"] else "torch"]
    assert found["hub"]["reachable"] is None  # nobody asked
    assert found["cache"]["exists"] is False
    assert not (tmp_path / "not yet").exists()
    assert set(found["systems"]) == set(registry.names())
    assert found["systems"]["local"] == {"works": True, "troubles": []}


def test_a_person_reads_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert main(["doctor", "--cache-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for word in ("processor", "memory", "gpu", "libraries", "not asked", str(tmp_path), "system local"):
        assert word in text


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from olive_like.systems import doctor; from pathlib import Path; doctor.examine(Path('/tmp'));"
        "print([m for m in ('torch', 'transformers', 'numpy', 'ray', 'deepspeed', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_features_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(XEON + "\n" + XEON.replace(": 0", ": 1"))
    monkeypatch.setattr(processor, "_CPUINFO", file)
    found = processor.processor()
    assert (found["model"], found["processors"]) == ("One", 2)
    has = {name for name, there in found["features"].items() if there}
    assert has == {"avx2", "avx512", "bf16", "amx"}
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "nothing")
    assert processor.processor()["features"] == {}


def test_a_folder_is_left_as_it_was(tmp_path: Path) -> None:
    found = folder.abilities(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert found["locks"]
    assert found["symlinks"]
    assert 0 < found["free"] <= found["total"]


def test_a_file_system_without_reflinks() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("there is no memory file system to try")
    found = folder.abilities(shm)
    assert found["file_system"] == "tmpfs"
    assert found["reflink"] is False


@pytest.mark.parametrize("smi", [True, False])
def test_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smi: bool) -> None:
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t NVIDIA H200\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n")
    monkeypatch.setattr(machine, "_NVIDIA", tmp_path / "gpus")
    monkeypatch.setattr(graphics, "_DRIVER", tmp_path / "version")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA H200, 143771, 570.86.15, 9.0"\n')
    program.chmod(0o755)
    found_before = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: (str(program) if smi else None) or found_before("none"))
    found = graphics.graphics()
    assert found["driver"] == "570.86.15"
    assert found["gpus"][0]["name"] == "NVIDIA H200"
    assert found["gpus"][0].get("memory") == (143771 << 20 if smi else None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert graphics.graphics()["gpus"] == []
    assert "CUDA_VISIBLE_DEVICES is ''" in graphics.nothing_found()


def test_the_hub_is_asked_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert doctor.hub(False)["reachable"] is None
    answer = doctor.hub(True)
    assert answer["reachable"] is False
    assert answer["why"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor.hub(True) == {"address": "http://127.0.0.1:9", "offline": True, "reachable": None}
