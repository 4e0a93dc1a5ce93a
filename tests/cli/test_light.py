"""The light commands import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "onnx", "onnxruntime", "datasets", "optuna", "pandas", "scipy", "numpy", "sklearn",
         "peft", "accelerate"]  # fmt: skip
MORE = ["networkx", "pydantic", "yaml"]

WORKFLOW = """
input_model: {type: HfModel, model_path: org/name}
data_configs: [{name: train, source: org/rows}]
systems: {box: {type: local}}
evaluators: {e: {metrics: [{name: size, type: size_on_disk}]}}
passes:
  lora: {type: LoRA, train_data_config: train, r: {choice: [8, 16]}}
  merge: {type: MergeAdapterWeights}
  onnx: {type: OnnxConversion}
  quantise: {type: OnnxDynamicQuantization, system: box, evaluator: e}
search_strategy: {sampler: random}
"""


def modules_after(arguments: list[str], cwd) -> set[str]:
    """What is loaded when a command has run in a process of its own."""
    code = (
        "import sys\n"
        "from olive_like.cli import main\n"
        f"code = main({arguments!r})\n"
        "print('MODULES', code, *sys.modules, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    marker, code_, *modules = result.stderr.strip().splitlines()[-1].split(" ")
    assert (marker, code_) == ("MODULES", "0"), result.stderr + result.stdout
    return set(modules)


@pytest.mark.parametrize(
    "arguments",
    [["check", "w.yaml"], ["check", "w.yaml", "--json"], ["passes"], ["passes", "LoRA"], ["systems"], ["schema"],
     ["explain", "OL101"]],
    ids=" ".join,
)  # fmt: skip
def test_no_heavy_library(arguments, tmp_path):
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    assert not modules_after(arguments, tmp_path) & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "OL101"]], ids=" ".join)
def test_no_library_at_all(arguments, tmp_path):
    assert not modules_after(arguments, tmp_path) & {*HEAVY, *MORE}
