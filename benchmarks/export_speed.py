"""Wall time and peak memory of exporting a language model: OnnxConversion against torch's exporter called directly.

    python benchmarks/export_speed.py FOLDER [--way direct pass …] [--olive PYTHON] [--optimum PYTHON]

Each way runs in a process of its own, one after the other. Olive and optimum-onnx are measured beside them where the
Python of an environment that has them is given: they want other versions of the libraries. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
OWN, PEERS = ("direct", "pass-unverified", "pass"), ("olive", "optimum")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", nargs="*", choices=OWN, default=OWN)
    for name in PEERS:
        parser.add_argument(f"--{name}", help=f"the Python of an environment with {name}", metavar="PYTHON")
    parser.add_argument("--one", choices=(*OWN, *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _EXPORTERS[options.one](options.folder, options.output)
        return 0
    pythons = dict.fromkeys(options.way, sys.executable)
    pythons |= {name: getattr(options, name) for name in PEERS if getattr(options, name)}
    print(
        "| way | wall, s | of direct | CPU, s | peak RSS, MB | bound, MB | weights, MB |\n|---|---|---|---|---|---|---|"
    )
    direct: float | None = None
    for way, python in pythons.items():
        wall, cpu, memory, weights = _measured(way, python, options.folder)
        direct = wall if way == "direct" else direct
        share = f"{wall / direct:.2f}" if direct else "-"
        print(
            f"| {way} | {wall:.1f} | {share} | {cpu:.1f} | {memory:.0f} | {2.5 * weights + 600:.0f} | {weights:.0f} |",
            flush=True,
        )
    return 0


def _measured(way: str, python: str, folder: Path) -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory() as output, tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        command = [python, __file__, str(folder), "--one", way, "--output", output]
        child = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{way} failed: {log.read().decode()[-1500:]}")
        weights = sum(path.stat().st_size for path in Path(output).rglob("*") if path.suffix in (".onnx", ".data"))
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, weights / 1e6


def _pass(folder: Path, output: Path, verify: bool) -> None:
    from olive_like.artifacts import HfModel
    from olive_like.passes.base import Context
    from olive_like.passes.convert.onnx_conversion import OnnxConversion

    config = OnnxConversion.Config(verify="fail" if verify else "off", save_as_external_data=True)
    context = Context(output=output, scratch=output / "scratch", threads=os.cpu_count() or 1)
    OnnxConversion().apply([HfModel(folder, {"task": "text-generation"})], config, context)


def _direct(folder: Path, output: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from olive_like.passes.convert._decoder import decoder_part

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    part = decoder_part(model, torch.float32, "past_key_values", None)
    with torch.no_grad():
        torch.onnx.export(
            part.module,
            (list(part.example.values()),),
            str(output / "model.onnx"),
            dynamo=True,
            opset_version=20,
            input_names=list(part.example),
            output_names=part.outputs,
            dynamic_shapes=([part.axes.get(name, {}) for name in part.example],),
            external_data=True,
            verbose=False,
        )


def _olive(folder: Path, output: Path) -> None:
    """Olive compares nothing."""
    from olive.workflows import run

    settings = {"type": "OnnxConversion", "use_dynamo_exporter": True, "target_opset": 20, "torch_dtype": "float32",
                "save_as_external_data": True}  # fmt: skip
    cpu = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    run(
        {
            "input_model": {"type": "HfModel", "model_path": str(folder), "task": "text-generation-with-past"},
            "systems": {"here": {"type": "LocalSystem", "accelerators": [cpu]}},
            "host": "here",
            "target": "here",
            "passes": {"export": settings},
            "output_dir": str(output / "out"),
            "cache_dir": tempfile.mkdtemp(),
        }
    )


def _optimum(folder: Path, output: Path) -> None:
    """optimum-onnx compares its outputs too."""
    from optimum.exporters.onnx import main_export

    main_export(str(folder), output, task="text-generation-with-past", dtype="fp32", opset=18, do_validation=True)


_EXPORTERS: dict[str, Callable[[Path, Path], None]] = {
    "direct": _direct,
    "pass-unverified": lambda folder, output: _pass(folder, output, False),
    "pass": lambda folder, output: _pass(folder, output, True),
    "olive": _olive,
    "optimum": _optimum,
}


if __name__ == "__main__":
    sys.exit(main())
