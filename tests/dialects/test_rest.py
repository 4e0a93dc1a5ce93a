"""Systems, evaluators, passes and the top of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from olive_like.diagnostics import Severity
from olive_like.workflow.dialects.signs import TOP
from olive_like.workflow.dialects.toplevel import SIGNS
from olive_like.workflow.read import read as read_file
from tests.dialects.reading import Read, codes

CPU = "accelerators: [{device: cpu, execution_providers: [CPUExecutionProvider]}]"
GPU = "accelerators: [{device: gpu, execution_providers: [CUDAExecutionProvider]}]"


@pytest.mark.parametrize("key", ["host", "target"])
def test_host_or_target_is_the_system(read: Read, key: str) -> None:
    tree, said = read(f"systems: {{here: {{type: LocalSystem, {CPU}}}}}\n{key}: here")
    assert tree["system"] == "here"
    assert key not in tree
    assert tree["layout"] == "olive"
    assert not said


def test_engine_is_the_top_one_level_deeper(read: Read) -> None:
    tree, said = read("engine: {cache_dir: c, target: {type: LocalSystem}, evaluator: {metrics: []}}")
    assert tree["cache_dir"] == "c"
    assert tree["system"] in tree["systems"]
    assert tree["evaluator"] in tree["evaluators"]
    assert not said


def test_host_and_target_become_one_system_and_it_is_said(read: Read) -> None:
    tree, said = read(
        f"systems:\n  a: {{type: LocalSystem, {CPU}}}\n  b: {{type: PythonEnvironment, {GPU}}}\nhost: a\ntarget: b\n"
    )
    assert tree["system"] == "a_for_b"
    assert tree["systems"] == {
        "a_for_b": {
            "type": "LocalSystem",
            "accelerators": [{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
            "device": "cpu",
        }
    }
    assert [(d.code, d.line) for d in said] == [("OL352", 5)]


def test_a_target_that_is_not_there(read: Read) -> None:
    _, said = read("systems: {a: {type: LocalSystem}}\nhost: a\ntarget: c")
    assert [(d.code, d.line) for d in said] == [("OL110", 3)]


def test_system_and_host(read: Read) -> None:
    tree, said = read("systems: {a: {type: LocalSystem}, b: {type: LocalSystem}}\nsystem: a\nhost: b\ntarget: a")
    assert tree["system"] == "a"
    assert [(d.code, d.line) for d in said] == [("OL311", 3)]


def test_systems_of_clouds(read: Read) -> None:
    _, said = read("systems:\n  c:\n    type: AzureML\n    aml_compute: x\n")
    assert [(d.code, d.line) for d in said] == [("OL305", 3)]


def test_metrics_at_the_top(read: Read) -> None:
    tree, said = read(
        """
        passes: {a: {type: 'Null', evaluator: {metrics: [two]}}}
        metrics:
          - {name: one, type: latency, sub_types: [avg, {name: p90}]}
          - {name: two, type: size_on_disk}
          - {name: three, type: size_on_disk}
        evaluators: {e: {metrics: [one, perplexity, twoo]}}
        """
    )
    one = {"name": "one", "type": "latency", "sub_types": [{"name": "avg"}, {"name": "p90"}]}
    assert tree["evaluators"]["e"]["metrics"][0] == one
    assert tree["passes"]["a"]["evaluator"]["metrics"] == [{"name": "two", "type": "size_on_disk"}]
    assert [(d.code, d.line) for d in said] == [("OL350", 6), ("OL306", 7)]
    assert "three" in said[0].message
    assert "twoo" in said[1].message
    assert tree["evaluators"]["e"]["metrics"][1] == "perplexity"


def test_names_alone_stay_where_there_are_no_metrics_at_the_top(read: Read) -> None:
    tree, said = read("passes: {a: {type: 'Null'}}\nevaluators: {e: {metrics: [perplexity]}}")
    assert tree["evaluators"]["e"]["metrics"] == ["perplexity"]
    assert not said


def test_values_under_the_hub_s_names(read: Read) -> None:
    tree, said = read(
        """
        passes: {a: {type: 'Null'}}
        evaluators:
          e:
            metrics:
              - {name: m, type: accuracy, backend: huggingface_metrics,
                 sub_types: [{name: f1}, accuracy, {name: relaxed_accuracy}]}
        """
    )
    assert tree["evaluators"]["e"]["metrics"][0]["sub_types"] == [{"name": "f1_score"}, {"name": "accuracy_score"}]
    assert codes(said) == ["OL306"]
    assert "relaxed_accuracy" in said[0].message


def test_the_harness_is_a_metric(read: Read) -> None:
    tree, said = read(
        "passes: {a: {type: 'Null'}}\nevaluators: {e: {type: LMEvaluator, tasks: [mmlu], limit: 8, batch_size: 1}}"
    )
    assert tree["evaluators"]["e"]["metrics"] == [{"name": "lm_eval", "type": "lm_eval", "tasks": ["mmlu"], "limit": 8}]
    assert codes(said) == ["OL351"]


def test_embeddings_are_a_metric_too(read: Read) -> None:
    tree, _ = read("passes: {a: {type: 'Null'}}\nevaluators: {e: {type: MTEBEvaluator, tasks: [STS17], batch_size: 1}}")
    assert tree["evaluators"]["e"]["metrics"] == [{"name": "mteb", "type": "mteb", "tasks": ["STS17"]}]


@pytest.mark.parametrize("kind", ["OtherEvaluator"])
def test_evaluators_that_are_not_available(read: Read, kind: str) -> None:
    _, said = read(f"passes: {{a: {{type: 'Null'}}}}\nevaluators: {{e: {{type: {kind}, tasks: [x], batch_size: 1}}}}")
    assert [(d.code, d.line) for d in said] == [("OL306", 2)]
    assert kind in said[0].message


def test_without_passes_the_model_is_measured(read: Read) -> None:
    tree, said = read("input_model: {type: HfModel, model_path: a/b}\nevaluators: {e: {metrics: [perplexity]}}")
    assert (tree["evaluator"], tree["evaluate_input_model"]) == ("e", True)
    assert codes(said) == ["OL350", "OL350"]


def test_settings_without_effect_and_those_that_are_missing(read: Read) -> None:
    tree, said = read("log_severity_level: 1\nno_artifacts: true\npackaging_config: {type: Zipfile}\nworkflow_id: x\n")
    assert [(d.code, d.severity, d.line) for d in said] == [
        ("OL351", Severity.NOTE, 1),
        ("OL351", Severity.NOTE, 2),
        ("OL351", Severity.NOTE, 4),
        ("OL308", Severity.ERROR, 3),
    ]
    assert tree == {"layout": "olive"}


def test_a_setting_that_asks_for_nothing_is_no_error(read: Read) -> None:
    _, said = read("packaging_config: null\nenable_shared_cache: false\n")
    assert codes(said) == ["OL351", "OL351"]


def test_every_key_that_a_rule_knows_is_a_sign() -> None:
    assert SIGNS <= TOP


def test_what_olive_writes_around_a_pass(read: Read) -> None:
    tree, said = read(
        """
        systems: {here: {type: LocalSystem}}
        passes: {a: {type: 'Null', config: {bytes: 3}, host: here, disable_search: true, clean_run_cache: true}}
        """
    )
    assert tree["passes"]["a"] == {"type": "Null", "config": {"bytes": 3}, "system": "here"}
    assert codes(said) == ["OL351", "OL351"]


def test_a_script_that_nothing_is_taken_from(read: Read) -> None:
    tree, said = read("passes: {a: {type: OnnxConversion, user_script: s.py, disable_search: true}}")
    assert tree["passes"]["a"] == {"type": "OnnxConversion"}
    assert codes(said) == ["OL351", "OL351"]


@pytest.mark.parametrize(
    ("kind", "code"), [("OpenVINOConversion", "OL301"), ("openvinoconversion", "OL301"), ("Rtm", "OL107")]
)
def test_passes_that_there_are_not(tmp_path: Path, kind: str, code: str) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(f"input_model: {{type: HfModel, model_path: a/b}}\npasses:\n  x:\n    type: {kind}\n    speed: 3\n")
    found = [d for d in read_file(file).diagnostics if d.severity is Severity.ERROR]
    assert [(d.code, d.line, d.column) for d in found] == [(code, 4, 11)]
    if code == "OL301":
        assert found[0].message == "pass type not available: OpenVINOConversion"
        assert "OnnxConversion" in found[0].hint


def test_a_pass_in_any_case_with_nested_settings(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text('{"input_model": {"type": "HFModel", "model_path": "a"}, "passes": {"q": {"type": "rtn", "config": '
                    '{"bits": 8}}}}')  # fmt: skip
    result = read_file(file)
    assert result.workflow is not None
    assert result.workflow.passes["q"].type == "Rtn"


def test_this_engine_s_own_file_is_left_alone(read: Read) -> None:
    """The consistency check in `read` also runs every rule on it."""
    text = """
        input_model: {type: HfModel, model_path: m, task: text-generation}
        data_configs: {rows: {source: rows.json, split: "train[:10]"}}
        systems: {box: {type: local, slots: 2}}
        evaluators: {quality: {metrics: [perplexity, {name: fast, type: latency}]}}
        passes:
          tune: {type: LoRA, r: {choice: [4, 8]}, train_data_config: rows, system: box}
          merge: {type: MergeAdapterWeights}
          either: [{type: Rtn, bits: 4}, {type: Gptq, bits: 4, data_config: rows}]
        outputs: {final: either}
        evaluator: quality
        seed: 3
        output_dir: out
        """
    tree, said = read(text)
    assert not said
    assert "layout" not in tree


def test_systems_and_evaluators_may_be_lists(read: Read) -> None:
    tree, said = read(
        "systems: [{name: here, type: LocalSystem, accelerators: [gpu]}]\n"
        "evaluators: [{name: e, type: OliveEvaluator, metrics: [{name: s, type: size_on_disk}]}]\n"
        "host: {type: LocalSystem}\n"
    )
    assert tree["systems"]["here"]["accelerators"] == [{"device": "gpu"}]
    assert list(tree["systems"]) == ["here", tree["system"]]
    assert "type" not in tree["evaluators"]["e"]
    assert not said


def test_accelerators_that_nothing_uses_are_said(read: Read) -> None:
    _, said = read(
        "systems:\n  a: {type: LocalSystem, accelerators: [{device: npu, execution_providers: [QNN, CPU]}]}\n"
        "  b: {type: LocalSystem, accelerators: [{device: gpu, execution_providers: [DmlExecutionProvider]}]}\n"
        f"  c: {{type: LocalSystem, {GPU}}}\n"
    )
    assert [(d.code, d.line) for d in said] == [("OL352", 2), ("OL352", 3)]
    assert "the device npu, QNN:" in said[0].message
