"""Goals, statistics and the comparison of models."""

import pytest

from olive_like.engine.comparison import comparison
from olive_like.metrics.config import Evaluator
from olive_like.metrics.goals import judge, needs_baseline
from olive_like.metrics.statistics import is_noise, mean, percentile, ratio, summarise
from olive_like.workflow.moving import moved


def verdict(kind, sub, goal, value, before=None):
    metric = {"name": "m", "type": kind, "sub_types": [{"name": sub, "goal": goal}]}
    name = f"m-{sub}"
    old = {name: before} if before is not None else None
    (found,) = judge(Evaluator.model_validate({"metrics": [metric]}), {name: value}, old)
    return found


@pytest.mark.parametrize(
    ("kind", "sub", "goal", "value", "before", "met"),
    [
        ("accuracy", "accuracy_score", {"type": "threshold", "value": 0.8}, 0.8, None, True),
        ("accuracy", "accuracy_score", {"type": "threshold", "value": 0.8}, 0.79, None, False),
        ("latency", "avg", {"type": "threshold", "value": 10}, 9.9, None, True),
        ("latency", "avg", {"type": "threshold", "value": 10}, 10.1, None, False),
        ("accuracy", "accuracy_score", {"type": "max-degradation", "value": 0.01}, 0.895, 0.9, True),
        ("accuracy", "accuracy_score", {"type": "max-degradation", "value": 0.01}, 0.88, 0.9, False),
        ("accuracy", "accuracy_score", {"type": "min-improvement", "value": 0.01}, 0.92, 0.9, True),
        ("latency", "avg", {"type": "percent-min-improvement", "value": 20}, 79.0, 100.0, True),
        ("latency", "avg", {"type": "percent-min-improvement", "value": 20}, 81.0, 100.0, False),
        ("accuracy", "perplexity", {"type": "percent-max-degradation", "value": 5}, 10.4, 10.0, True),
        ("accuracy", "perplexity", {"type": "percent-max-degradation", "value": 5}, 10.6, 10.0, False),
    ],
)
def test_goals_know_which_way_is_better(kind, sub, goal, value, before, met):
    assert verdict(kind, sub, goal, value, before).met is met


def test_a_goal_against_the_input_model_needs_its_value():
    missed = verdict("accuracy", "accuracy_score", {"type": "min-improvement", "value": 0.1}, 0.9)
    assert not missed.met
    assert "evaluate_input_model" in missed.text


def test_which_evaluators_compare_with_the_input_model():
    def metrics(kind):
        goal = {"type": kind, "value": 1}
        return Evaluator.model_validate(
            {"metrics": [{"name": "a", "type": "latency", "sub_types": [{"name": "avg", "goal": goal}]}]}
        )

    assert needs_baseline(metrics("max-degradation"))
    assert not needs_baseline(metrics("threshold"))


def test_statistics_equal_numpy():
    import numpy

    samples = list(numpy.random.default_rng(0).random(101))
    found = summarise(samples)
    for name, percent in (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9)):
        assert found[name] == pytest.approx(numpy.percentile(samples, percent), abs=1e-12)
    assert percentile([3.0], 90) == 3.0


def test_a_difference_within_the_spreads_is_noise():
    assert is_noise(1.0, 1.1, 0.1, 0.1)
    assert not is_noise(1.0, 1.3, 0.1, 0.1)
    assert not is_noise(1.0, 1.1, None, None)


def test_models_beside_each_other():
    passes = [
        {"name": "input_model.metrics", "metrics": {"loss-loss": {"value": 2.0, "spread": 0.1, "unit": ""}}},
        {"name": "lora", "metrics": {"train_loss": 1.0}},
        {"name": "lora.metrics", "metrics": {"loss-loss": {"value": 1.0, "spread": 0.1, "unit": ""}}},
        {"name": "int8.metrics", "metrics": {"loss-loss": {"value": 1.95, "spread": 0.1, "unit": ""}}},
    ]
    assert comparison(passes) == [
        ("model", "loss"),
        ("input_model", "2"),
        ("lora", "1 (-50.0 %)"),
        ("int8", "1.95 (-2.5 %, noise)"),
    ]
    assert comparison(passes[1:2]) == []


def test_a_name_alone_stands_for_a_metric():
    evaluator = Evaluator.model_validate({"metrics": ["perplexity", "latency"], "data_config": "rows"})
    first, second = evaluator.metrics
    assert (first.type, first.sub_types[0].name, first.data_config) == ("accuracy", "perplexity", "rows")
    assert (second.type, second.data_config) == ("latency", None)


def test_a_file_and_a_function_are_a_metric_of_the_users_own(tmp_path):
    for data, function in (({"data_config": "rows"}, "metric_func"), ({}, "evaluate_func")):
        (metric,) = Evaluator.model_validate({"metrics": ["mine.py:score"], **data}).metrics
        assert (metric.name, metric.type, metric.data_config) == ("score", "custom", data.get("data_config"))
        assert getattr(metric.user_config, function) == "score"
    (tmp_path / "mine.py").write_text("")
    tree = {"evaluators": {"e": {"metrics": ["mine.py:score", "perplexity"]}}}
    there = moved(tree, tmp_path, tmp_path / "deep")["evaluators"]["e"]["metrics"]
    assert there == ["../mine.py:score", "perplexity"]


def test_an_unknown_value_is_refused_before_anything_is_measured():
    with pytest.raises(ValueError, match="accuracy has no value `f2_score`"):
        Evaluator.model_validate({"metrics": [{"name": "a", "type": "accuracy", "sub_types": [{"name": "f2_score"}]}]})


@pytest.mark.parametrize(
    ("kind", "sub", "setting", "said"),
    [
        ("latency", "avg", {"warmup_nmu": 3}, "Did you mean `warmup_num`"),
        ("latency", "avg", {"warmup_num": "many"}, "a whole number from 0 on, not 'many'"),
        ("latency", "avg", {"repeat_test_num": 0}, "from 1 on, not 0"),
        ("latency", "avg", {"sleep_num": -1}, "a number of seconds from 0 on"),
        ("size_on_disk", "bytes", {"batch_size": 1}, "It has none"),
        ("accuracy", "f1_score", {"average": "makro"}, "one of binary, micro, macro, weighted"),
    ],
)
def test_settings_of_a_value_that_make_no_sense_are_refused(kind, sub, setting, said):
    with pytest.raises(ValueError, match=said):
        Evaluator.model_validate(
            {"metrics": [{"name": "m", "type": kind, "sub_types": [{"name": sub, "metric_config": setting}]}]}
        )


def test_a_ratio_is_as_sure_as_its_pairs_are_alike():
    value, error = ratio([(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)])
    assert (value, error) == (0.5, 0.0)
    assert ratio([(1.0, 2.0)]) == (0.5, None)
    assert mean([1.0, 3.0]) == (2.0, pytest.approx(1.0))
