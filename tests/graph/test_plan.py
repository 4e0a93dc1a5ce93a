"""Keys, statuses and reasons."""

import json
import os
import subprocess
import sys

import pytest

from olive_like.errors import OliveLikeError
from olive_like.graph import keys
from olive_like.graph.draw import draw
from olive_like.graph.explain import explain
from olive_like.graph.reasons import Why
from tests.graph.conftest import pretend_run

FLOW = """
input_model: {type: Null}
passes:
  a: {type: Null, bytes: 8}
  b: {type: Null, value: 3}
  c: {type: Null, inputs: [a, b]}
"""


def test_a_fresh_plan_misses_what_can_start_and_waits_for_the_rest(planned):
    plan = planned(FLOW)
    assert {name: item.status.value for name, item in plan.nodes.items()} == {"a": "miss", "b": "waits", "c": "waits"}
    assert all(len(item.key) == 64 and int(item.key, 16) >= 0 for item in plan.nodes.values())
    assert [reason.code for reason in plan.nodes["a"].reasons] == [Why.NEVER_RUN]


def test_after_a_run_everything_hits(planned, store):
    pretend_run(planned(FLOW), store)
    plan = planned(FLOW)
    assert plan.all_hits
    assert all(item.reasons == () for item in plan.nodes.values())


def test_part_of_a_run_hits(planned, store):
    pretend_run(planned(FLOW), store, upto="a")
    statuses = [item.status.value for item in planned(FLOW).nodes.values()]
    assert statuses == ["hit", "miss", "waits"]


@pytest.mark.parametrize(
    ("old", "new", "name", "code", "field"),
    [
        ("bytes: 8", "bytes: 9", "a", Why.SETTING, "bytes"),
        ("value: 3", "value: '3'", "b", Why.SETTING, "value"),
        ("value: 3", "value: 3.0", "b", Why.SETTING, "value"),
        ("[a, b]", "[b, a]", "c", Why.INPUT, "b"),
        ("[a, b]", "[a]", "c", Why.INPUT, "inputs[1]"),
        ("{type: Null}\n", "{type: Null, value: 2}\n", "a", Why.INPUT, "input_model"),
        ("passes:", "seed: 5\npasses:", "a", Why.SEED, "seed"),
    ],
)
def test_every_change_moves_the_key_and_is_named(planned, store, old, new, name, code, field):
    before = planned(FLOW)
    pretend_run(before, store)
    after = planned(FLOW.replace(old, new, 1))
    item = after.nodes[name]
    assert item.key != before.nodes[name].key
    assert (code, field) in [(reason.code, reason.field) for reason in item.reasons]
    assert field in explain(after, name)


def test_a_library_that_is_used_where_it_is_installed_is_in_the_key(planned, store, monkeypatch):
    flow = FLOW + "evaluators: {e: {metrics: [size_on_disk]}}\nevaluator: e\n"
    pretend_run(planned(flow), store)
    version = keys.tool_version
    monkeypatch.setattr(keys, "tool_version", lambda name: "99" if name == "onnxruntime-genai" else version(name))
    after = planned(flow)
    assert after.nodes["c"].status.value == "hit"
    reasons = after.nodes["c.metrics"].reasons
    assert [(reason.code, reason.field) for reason in reasons] == [(Why.TOOL, "onnxruntime-genai")]


def test_what_cannot_change_the_result_does_not_move_the_key(planned):
    assert planned(FLOW).nodes["a"].key == planned(FLOW.replace("bytes: 8", "bytes: 8, seconds: 9")).nodes["a"].key


def test_defaults_are_filled_in_before_the_key_is_made(planned):
    assert planned(FLOW).nodes["b"].key == planned(FLOW.replace("value: 3", "value: 3, bytes: 64")).nodes["b"].key


def test_a_removed_result_is_named_as_that(planned, store):
    pretend_run(planned(FLOW), store)
    store.close()  # what a process has in use is not removed
    store.gc(max_size=0)
    reasons = planned(FLOW).nodes["a"].reasons
    assert [reason.code for reason in reasons] == [Why.GONE]


def test_the_only_pass_needs_its_inputs_made(planned, store):
    from olive_like.errors import WorkflowError

    pretend_run(planned(FLOW), store, upto="a")
    with pytest.raises(WorkflowError, match="b must run first"):
        planned(FLOW, only="c")


DATA_FLOW = """
input_model: {type: HfModel, model_path: ./m}
data_configs: [{name: rows, source: rows.jsonl}]
passes:
  lora: {type: LoRA, r: 4}
"""


@pytest.fixture
def data_flow(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "m" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("file", "moved", "field"),
    [
        ("rows.jsonl", {"lora.train_data", "lora"}, "source"),
        ("m/model.safetensors", {"lora"}, "input_model"),
        ("m/tokenizer.json", {"lora.train_data", "lora"}, "input_model"),
    ],
)
def test_one_byte_of_a_file_moves_just_the_keys_that_depend_on_it(planned, store, data_flow, file, moved, field):
    before = planned(DATA_FLOW)
    pretend_run(before, store)
    path = data_flow / file
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    after = planned(DATA_FLOW)
    assert {name for name in after.nodes if after.nodes[name].key != before.nodes[name].key} == moved
    first = next(item for item in after.nodes.values() if item.status.value != "hit")
    assert field in [reason.field for reason in first.reasons]


@pytest.mark.parametrize(("file", "code"), [("rows.jsonl", "OL401"), ("m", "OL402")])
def test_a_file_that_is_not_there_is_refused_at_its_line(planned, data_flow, file, code):
    (data_flow / file).rename(data_flow / "elsewhere")
    with pytest.raises(OliveLikeError) as caught:
        planned(DATA_FLOW)
    assert [(found.code, found.line is not None) for found in caught.value.diagnostics] == [(code, True)]


def test_a_file_that_no_planned_pass_needs_may_be_missing(planned, data_flow):
    (data_flow / "rows.jsonl").unlink()
    beside = f"{DATA_FLOW}  other: {{type: Null, input: input_model}}\n"
    assert list(planned(beside, until="other").nodes) == ["other"]


def test_touching_a_file_moves_nothing(planned, store, data_flow):
    before = planned(DATA_FLOW)
    os.utime(data_flow / "rows.jsonl", (1, 1))
    os.utime(data_flow / "m" / "model.safetensors", (1, 1))
    assert {n: i.key for n, i in planned(DATA_FLOW).nodes.items()} == {n: i.key for n, i in before.nodes.items()}


def test_the_way_a_path_is_written_moves_nothing(planned, data_flow):
    keys = [item.key for item in planned(DATA_FLOW).nodes.values()]
    spelled = DATA_FLOW.replace("rows.jsonl", "./m/../rows.jsonl").replace("./m}", f"{data_flow}/m}}")
    assert [item.key for item in planned(spelled).nodes.values()] == keys


def test_the_file_format_the_order_of_keys_and_the_surroundings_move_nothing(planned, tmp_path):
    keys = {name: item.key for name, item in planned(FLOW).nodes.items()}
    flow = {
        "passes": {
            "a": {"bytes": 8, "type": "Null"},
            "b": {"value": 3, "type": "Null"},
            "c": {"inputs": ["a", "b"], "type": "Null"},
        },
        "input_model": {"type": "Null"},
    }
    (tmp_path / "flow.json").write_text(json.dumps(flow).replace(", ", ",\r\n"))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    for environment in ({"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}, {"LC_ALL": "C", "PYTHONHASHSEED": "2"}):
        run = subprocess.run(
            [sys.executable, "-m", "olive_like", "plan", "../flow.json", "--json", "--cache-dir", tmp_path / "other"],
            env={**os.environ, **environment}, cwd=elsewhere, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert {node["name"]: node["key"] for node in json.loads(run.stdout)["nodes"]} == keys


def test_golden_keys(planned):
    """Frozen: a change here makes every cache in the world miss. Raise `keys.SCHEMA` if it must be."""
    assert {name: item.key[:16] for name, item in planned(FLOW).nodes.items()} == {
        "a": "a8bedba893380522",
        "b": "5be3b5817cbe89c5",
        "c": "c7506e348e3a3075",
    }


def test_the_drawing_shows_branches_joins_and_counts(planned):
    text = draw(planned(FLOW))
    assert "with b" in text
    assert text.endswith("3 nodes: 0 in the cache, 1 to run, 2 waiting for those")


def test_a_long_chain_is_drawn_without_running_off_the_screen(planned):
    chain = "".join(f"  p{i}: {{type: Null}}\n" for i in range(2000))
    lines = draw(planned("input_model: {type: Null}\npasses:\n" + chain)).splitlines()
    assert max(map(len, lines)) < 160


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package whose pass does its work in a module of its own."""
    from olive_like.passes import registry

    folder = tmp_path / "site"
    package, info = folder / "worked_elsewhere", folder / "worked_elsewhere-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("from worked_elsewhere.light import Light\n")
    (package / "light.py").write_text(
        "from olive_like.passes.pretend.null import Null\nclass Light(Null):\n    'Light.'\n"
    )
    (package / "_heavy.py").write_text("ONE = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: worked-elsewhere\nVersion: 1.0\n")
    points = ["Light = worked_elsewhere:Light", "Gone = worked_elsewhere.gone:Gone", "NoPass = worked_elsewhere:sys"]
    (info / "entry_points.txt").write_text("\n".join(["[olive_like.passes]", *points, ""]))
    monkeypatch.syspath_prepend(str(folder))
    for known in (registry._plugins, registry.load):
        known.cache_clear()
    yield package
    for known in (registry._plugins, registry.load):
        known.cache_clear()


def test_the_whole_package_of_a_pass_from_outside_is_in_its_key(planned, store, plugin):
    flow = "input_model: {type: Null}\npasses: {a: {type: Light}}\n"
    before = planned(flow)
    pretend_run(before, store)
    assert planned(flow).nodes["a"].status.value == "hit"
    (plugin / "_heavy.py").write_text("ONE = 2\n")
    after = planned(flow).nodes["a"]
    assert after.key != before.nodes["a"].key
    assert [reason.code for reason in after.reasons] == [Why.CODE]


@pytest.mark.parametrize("name", ["Gone", "NoPass"])
def test_a_pass_from_outside_that_cannot_be_loaded_is_named_with_its_package(planned, plugin, name):
    with pytest.raises(OliveLikeError, match=f"the pass {name} of the package worked-elsewhere cannot be loaded"):
        planned(f"passes: {{a: {{type: {name}}}}}\n")


def test_one_byte_of_a_users_script_moves_the_key_and_is_named(planned, store, data_flow):
    (data_flow / "loss.py").write_text("def loss(outputs, labels):\n    return outputs.loss\n")
    flow = DATA_FLOW.replace("r: 4", "r: 4, loss: loss.py:loss")
    before = planned(flow)
    pretend_run(before, store)
    (data_flow / "loss.py").write_text("def loss(outputs, labels):\n    return outputs.loss \n")
    after = planned(flow)
    assert after.nodes["lora"].key != before.nodes["lora"].key
    assert after.nodes["lora.train_data"].key == before.nodes["lora.train_data"].key
    assert "loss.script" in explain(after, "lora")
    assert [str(data_flow / "loss.py")] == after.nodes["lora"].to_json()["executes"]


COMPOSITE = """
input_model:
  type: CompositeModel
  model_path: whole
  model_component_names: [first, second]
  model_components: [{type: OnnxModel, model_path: a/model.onnx}, {type: OnnxModel, model_path: b}]
passes: {join: {type: ComposeOnnxModels}}
"""


def test_a_composite_model_is_a_folder_with_its_parts(planned, problems_of, tmp_path):
    for part in "ab":
        (tmp_path / "whole" / part).mkdir(parents=True)
        (tmp_path / "whole" / part / "model.onnx").write_bytes(b"not looked into")
    plan = planned(COMPOSITE)
    assert [(part["name"], part["path"]) for part in plan.source.attributes["components"]] == [
        ("first", "a"), ("second", "b"),
    ]  # fmt: skip
    (tmp_path / "whole" / "b" / "model.onnx").write_bytes(b"other content")
    assert planned(COMPOSITE).source.digest != plan.source.digest
    assert planned(COMPOSITE.replace("first", "one")).source.digest != plan.source.digest
    with pytest.raises(OliveLikeError, match="two components are in"):
        planned(COMPOSITE.replace("path: b}", "path: a}"))
    (problem,) = problems_of(COMPOSITE.replace("path: b}", "path: ./c}"))
    assert (problem.code, problem.field) == ("OL402", "input_model.model_components[1].model_path")
    (problem,) = problems_of(COMPOSITE.replace("[first, second]", "[first]"))
    assert problem.code == "OL106"


def test_a_hub_model_of_which_only_the_tokenizer_is_here_is_not_here(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / "c0"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0")
    (snapshot / "tokenizer.json").write_text("{}")
    text = "input_model: {type: HfModel, model_path: a/b}\npasses: {small: {type: Rtn}}\n"
    assert planned(text).source is None
    index = snapshot / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}}))
    (snapshot / "one.safetensors").write_bytes(b"x")
    assert planned(text).source is None
    (snapshot / "two.safetensors").write_bytes(b"x")
    assert planned(text).source.path == snapshot
