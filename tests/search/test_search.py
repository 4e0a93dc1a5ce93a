"""Searching on the pretend system: what is tried, what is shared, what is chosen."""

import json

import pytest

import olive_like
from olive_like.errors import OliveLikeError, WorkflowError
from olive_like.search.pareto import front
from olive_like.search.space import at, dimensions, grid
from olive_like.workflow.read import read

FLOW = """
input_model: {type: Null}
evaluators: {e: {metrics: [size_on_disk]}}
evaluator: e
passes:
  a: {type: Null, bytes: {choice: [10, 20, 30]}}
  b: {type: Null, value: {choice: [1, 2]}}
  c:
    - {type: Null, bytes: {choice: [100, 50]}}
    - {type: Null, bytes: 70, value: 3}
search_strategy: {sampler: grid}
"""


@pytest.fixture
def searched(tmp_path):
    """Run a search in-process."""
    events = []

    def run(text=FLOW, **options):
        file = tmp_path / "flow.yaml"
        file.write_text(text)
        events.clear()
        result = olive_like.run(
            file, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True,
            on_event=events.append, **options,
        )  # fmt: skip
        return result, result.search

    run.events = events
    return run


def ran(events):
    return [event["pass"] for event in events if event["event"] == "done"]


def test_a_grid_tries_every_point_once_and_every_pass_configuration_once(searched):
    result, search = searched()
    assert len(search["trials"]) == 3 * 2 * 3
    names = ran(searched.events)
    assert len(names) == len(set(names))
    made = [name for name in names if not name.partition("#")[0].endswith(".metrics")]
    assert len(made) == 3 + 3 * 2 + 3 * 2 * 3
    assert result.ok


def test_the_best_is_the_smallest_and_an_ordinary_workflow(searched, tmp_path):
    result, search = searched()
    best = search["trials"][search["best"]]
    assert best["values"]["size_on_disk-bytes"] == 50
    alone = olive_like.run(tmp_path / "out" / "best.yaml", cache_dir=tmp_path / "other", in_process=True)
    assert alone.search is None
    assert alone.outputs["c"].digest == result.outputs["c"].digest


def test_running_again_runs_nothing(searched):
    searched()
    _, search = searched()
    assert ran(searched.events) == []
    assert len(search["trials"]) == 18


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_the_same_seed_gives_the_same_trials(searched, sampler):
    text = FLOW.replace("sampler: grid", f"sampler: {sampler}, max_samples: 7, seed: 3")
    points = [[trial["point"] for trial in searched(text)[1]["trials"]] for _ in range(2)]
    assert points[0] == points[1]
    assert len(points[0]) == 7
    assert len({json.dumps(point, sort_keys=True) for point in points[0]}) == 7


def test_a_space_that_is_exhausted_ends_the_search(searched):
    text = FLOW.replace("sampler: grid", "sampler: random, max_samples: 500")
    assert len(searched(text)[1]["trials"]) <= 18


def test_a_failing_trial_does_not_end_the_search(searched):
    text = FLOW.replace("{type: Null, bytes: 70, value: 3}", "{type: Null, fail: true}")
    result, search = searched(text)
    failed = [trial for trial in search["trials"] if trial["status"] == "failed"]
    assert len(failed) == 6
    assert "told to fail" in failed[0]["why"][0]
    assert result.ok


def test_constraints_rule_candidates_out(searched):
    text = FLOW.replace("sampler: grid", "sampler: grid, constraints: [{metric: size_on_disk, min: 60}]")
    _, search = searched(text)
    assert {trial["status"] for trial in search["trials"]} == {"done", "infeasible"}
    assert search["trials"][search["best"]]["values"]["size_on_disk-bytes"] == 70


def test_contradicting_constraints_are_named(searched):
    both = "[{metric: size_on_disk, min: 60}, {metric: size_on_disk, max: 50}]"
    with pytest.raises(WorkflowError, match="at least 60 and at most 50"):
        searched(FLOW.replace("sampler: grid", f"sampler: grid, constraints: {both}"))


def test_where_nothing_will_do_the_first_reason_is_named(searched):
    impossible = "sampler: grid, constraints: [{metric: size_on_disk, max: 1}]"
    with pytest.raises(OliveLikeError, match="none of 18 candidates will do") as caught:
        searched(FLOW.replace("sampler: grid", impossible))
    assert "> 1" in caught.value.hint


def test_a_search_needs_something_to_compare_by(searched):
    with pytest.raises(WorkflowError, match="needs an evaluator"):
        searched(FLOW.replace("evaluator: e\n", ""))


def test_an_objective_that_is_not_measured_is_named(searched):
    with pytest.raises(WorkflowError, match="'accuracy' is not measured"):
        searched(FLOW.replace("sampler: grid", "sampler: grid, objectives: [accuracy]"))


def test_a_grid_over_endless_numbers_is_refused(searched):
    text = FLOW.replace("bytes: {choice: [10, 20, 30]}", "seconds: {float: [0, 1]}")
    with pytest.raises(WorkflowError, match="has no end of values"):
        searched(text)


def test_a_part_is_no_search_and_says_so(searched):
    result, search = searched(until="a")
    assert search is None
    assert result.passes["a"].bytes == 10
    (told,) = [event["text"] for event in searched.events if event["event"] == "warning"]
    assert "the first value is taken of passes.a.bytes" in told


@pytest.mark.parametrize("option", ["lock", "locked"])
def test_a_search_is_not_locked(searched, option):
    with pytest.raises(WorkflowError, match="cannot be locked"):
        searched(**{option: True})


def test_a_constraint_without_a_bound_is_refused(searched):
    with pytest.raises(WorkflowError, match="needs `min`, `max`"):
        searched(FLOW.replace("{sampler: grid}", "{sampler: grid, constraints: [{metric: size_on_disk}]}"))


def test_settings_of_an_alternative_count_only_where_it_is_taken(tmp_path):
    (tmp_path / "flow.yaml").write_text(FLOW)
    workflow = read(tmp_path / "flow.yaml").require()
    dims = dimensions(workflow)
    assert [d.name for d in dims] == ["passes.a.bytes", "passes.b.value", "passes.c", "passes.c[0].bytes"]
    points = list(grid(dims))
    assert len(points) == 18
    tree = at(workflow, dims, points[-1])
    assert tree["passes"]["c"] == {"type": "Null", "bytes": 70, "value": 3}


def test_the_front_has_what_nothing_beats():
    assert front([(1, 5), (2, 2), (3, 3), (5, 1), (2, 2)]) == [0, 1, 3]
    assert front([]) == []


@pytest.mark.parametrize("sampler", ["grid", "nsga2", "tpe"])
def test_two_objectives_that_pull_apart_make_a_front(tmp_path, sampler):
    (tmp_path / "mine.py").write_text(
        "import os\n\ndef inverse(path):\n"
        "    size = os.path.getsize(os.path.join(path, 'null.bin'))\n"
        "    return {'value': 1000 / size if size != 30 else 1.0}\n"
    )
    value = {"name": "inverse", "type": "custom", "sub_types": [{"name": "value", "higher_is_better": False}],
             "user_config": {"user_script": "mine.py", "evaluate_func": "inverse"}}  # fmt: skip
    flow = {
        "input_model": {"type": "Null"},
        "evaluators": {"e": {"metrics": ["size_on_disk", value]}},
        "evaluator": "e",
        "passes": {"a": {"type": "Null", "bytes": {"choice": [10, 20, 30, 40, 400]}}},
        "search_strategy": {"sampler": sampler, "max_samples": 5, "objectives": ["inverse", "size_on_disk"]},
    }
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    result = olive_like.run(
        tmp_path / "flow.json", cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True
    )
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    sizes = {
        trial["values"]["size_on_disk-bytes"] for trial in found["trials"] if trial["number"] in found["pareto_front"]
    }
    assert sizes == {10, 20, 30}  # 30 is the best of all at `inverse`, so that what is larger only loses
    assert found["trials"][found["best"]]["values"]["size_on_disk-bytes"] == 30
    rows = [line.split(",") for line in (tmp_path / "out" / "trials.csv").read_text().splitlines()]
    column = rows[0].index("pareto")
    assert sum(row[column] == "1" for row in rows[1:]) == 3
    assert result.search["pareto_front"] == found["pareto_front"]
