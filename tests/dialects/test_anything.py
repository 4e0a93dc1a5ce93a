"""Whatever stands where: a translation ends, says nothing without a place, and has nothing left to do."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olive_like.graph.check import diagnose
from olive_like.workflow.builder import copied
from olive_like.workflow.dialects import Report, translate
from olive_like.workflow.loader import loads
from olive_like.workflow.located import plain
from olive_like.workflow.read import read

SAMPLE: dict[str, Any] = {
    "input_model": {
        "type": "PyTorchModel",
        "config": {"model_path": "a/b", "io_config": {"input_names": ["x"]}},
        "hf_config": {"model_name": "c/d"},
    },
    "systems": {
        "here": {"type": "LocalSystem", "config": {"accelerators": ["GPU", {"device": "cpu", "memory": "4GB"}]}},
        "there": {"type": "PythonEnvironment", "python_environment_path": "e", "accelerators": [{"device": "npu"}]},
        "cloud": {"type": "AzureML", "aml_compute": "x"},
    },
    "data_configs": [
        {
            "name": "d",
            "type": "HuggingfaceContainer",
            "user_script": "s.py",
            "load_dataset_config": {"type": "huggingface_dataset", "params": {"data_name": "x", "split": "test"}},
            "pre_process_data_config": {"strategy": "join", "max_samples": 3, "padding": True},
            "post_process_data_config": {"type": "mine", "k": 1},
            "dataloader_config": {"type": "no_auto_batch_dataloader", "batch_size": 2, "drop_last": True},
        }
    ],
    "metrics": [{"name": "m", "type": "latency", "sub_types": ["avg", {"name": "max"}], "data_config": "d"}],
    "evaluators": {
        "e": {"metrics": ["m", {"name": "n", "type": "custom"}]},
        "lm": {"type": "LMEvaluator", "tasks": []},
    },
    "passes": {
        "convert": {"type": "OnnxConversion", "config": {"target_opset": 17}, "host": "there", "disable_search": True},
        "either": [{"type": "Rtn", "bits": "SEARCHABLE_VALUES"}, {"type": "Gptq", "data_config": "d"}],
        "open": {"type": "Rtn", "bits": {"type": "Conditional", "support": {}}, "evaluator": {"metrics": ["m"]}},
        "vendor": {"type": "QNNConversion", "data_config": {"name": "i", "load_dataset_config": {"type": "f"}}},
    },
    "engine": {"host": "here", "target": {"type": "LocalSystem"}, "evaluator": "e", "cache_dir": "c"},
    "builds": {"_default": {"host": {"type": "LocalSystem"}}, "one": {"pipeline": ["convert", "open"]}},
    "search_strategy": {"type": "random", "num_trials": 3, "max_iter": 4, "execution_order": "joint"},
    "search_space": {"bits": {"type": "choice", "values": [4, 8]}},
    "training_config": {"optim": "sgd"},
    "packaging_config": {"type": "Zipfile"},
    "log_severity_level": 1,
    "output_dir": "o",
}

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "HfModel", "config", "type", "name", "x", "SEARCHABLE_VALUES", "Conditional"]),
    st.just([]), st.just({}), st.just([[]]), st.just([{}]), st.just({"type": None}), st.just({"type": ["x"]}),
    st.just({"name": "d"}), st.just({"config": 3}), st.just({"config": {"config": {}}}), st.just([None, 1, "a"]),
)  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in _paths(item, (*path, key)))]


PATHS = _paths(SAMPLE)[1:]


def _replaced(changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    tree = json.loads(json.dumps(SAMPLE))
    for path, value in changes:
        holder: Any = tree
        try:
            for part in path[:-1]:
                holder = holder[part]
            if value is ...:
                del holder[path[-1]]
            else:
                holder[path[-1]] = deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return tree


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.one_of(VALUES, st.just(...))), max_size=4))
def test_anything_anywhere(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    loaded = loads(json.dumps(_replaced(changes), indent=1), "w.json")
    assert loaded.tree is not None
    report = Report("w.json")
    tree = translate(loaded.tree, report)
    assert all(d.line and d.column and d.file == "w.json" for d in report.diagnostics)
    again = plain(translate(copied(tree), Report("w.json")))
    assert again == plain(tree)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.one_of(VALUES, st.just(...))), max_size=4))
def test_the_whole_check_survives_it_too(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "anything.json"
    file.write_text(json.dumps(_replaced(changes), indent=1))
    found = diagnose(read(file), files=False)
    assert found
    assert all(d.line and d.column for d in found)
