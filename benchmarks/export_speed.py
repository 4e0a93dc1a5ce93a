"""Wall time and peak memory of exporting a language model: OnnxConversion against torch's exporter called directly.

    python benchmarks/export_speed.py FOLDER

Each way runs in a process of its own, one after the other. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WAYS = ("direct", "pass-unverified", "pass")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        (_direct if options.way == "direct" else _pass)(options.folder, options.output, options.way == "pass")
        return 0
    figures = {way: _measured(way, options.folder) for way in WAYS}
    print("| way | wall, s | of direct | CPU, s | peak RSS, MB | weights, MB |\n|---|---|---|---|---|---|")
    for way, (wall, cpu, memory, weights) in figures.items():
        share = wall / figures["direct"][0]
        print(f"| {way} | {wall:.1f} | {share:.2f} | {cpu:.1f} | {memory:.0f} | {weights:.0f} |")
    return 0


def _measured(way: str, folder: Path) -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        command = [sys.executable, __file__, str(folder), "--way", way, "--output", output]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{way} failed")
        weights = sum(path.stat().st_size for path in Path(output).glob("*.data"))
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, weights / 1e6


def _pass(folder: Path, output: Path, verify: bool) -> None:
    from olive_like.artifacts import HfModel
    from olive_like.passes.base import Context
    from olive_like.passes.convert.onnx_conversion import OnnxConversion

    config = OnnxConversion.Config(verify="fail" if verify else "off", save_as_external_data=True)
    context = Context(output=output, scratch=output / "scratch", threads=os.cpu_count() or 1)
    OnnxConversion().apply([HfModel(folder, {"task": "text-generation"})], config, context)


def _direct(folder: Path, output: Path, _: bool) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
