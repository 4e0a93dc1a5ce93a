"""OL5xx: search and evaluators."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {
    "OL501": Code(
        "an unknown metric",
        "An evaluator asks for a metric, or for one of a metric's values, that nothing here measures.",
        "evaluators:\n  e: {metrics: [{name: speed, type: latency, sub_types: [{name: p42}]}]}",
        "Correct the name; docs/measure.md has them all. A measure of your own is a metric of type `custom`.",
    ),
    "OL502": Code(
        "an objective or a constraint on something that is not measured",
        "What a search optimises, and the bounds that it keeps, must be among the values that the evaluators measure.",
        "search_strategy: {sampler: grid, objectives: [accuracy]}   # and no evaluator measures it",
        "Add the metric to the evaluator, or name one that is measured: `latency`, or `latency.p90` for one value.",
    ),
    "OL503": Code(
        "nothing to compare with",
        "A goal, a constraint or a metric compares a model with the input model, and there is none, or it is "
        "measured by another evaluator.",
        "evaluators:\n  e: {metrics: [token_agreement], data_config: rows}   # in a workflow without `input_model`",
        "Name an input model, or take a metric (`perplexity`) or goal (`threshold`) that stands by itself.",
    ),
    "OL504": Code(
        "constraints that nothing can keep",
        "Two constraints on the same value leave no room between them.",
        "search_strategy:\n  constraints: [{metric: latency, min: 10}, {metric: latency, max: 5}]",
        "Loosen one of them.",
    ),
    "OL505": Code(
        "a search without an evaluator",
        "Settings are left open, and nothing is measured by which candidates could be compared.",
        "passes:\n  lora: {type: LoRA, r: {choice: [8, 16]}}   # and no `evaluator`",
        "Add `evaluators:` and name one with `evaluator:`, or write one value for each setting.",
    ),
    "OL506": Code(
        "a grid without an end",
        "A grid tries every point, and a space of numbers without a step has no end of them.",
        "passes:\n  lora: {type: LoRA, learning_rate: {float: [1e-5, 1e-3]}}\nsearch_strategy: {sampler: grid}",
        "Give the space a `step` or a `choice`, or take `sampler: tpe` or `random`.",
    ),
    "OL507": Code(
        "a space where none can be searched",
        "Settings of passes can be left open. Those of models, data, systems and evaluators cannot: candidates would "
        "not be comparable.",
        "data_configs:\n  - {name: rows, source: rows.jsonl, max_samples: {choice: [100, 1000]}}",
        "Write one value, or leave a setting of a pass open: `data_config: {choice: [small, large]}` chooses a "
        "whole data set.",
    ),
    "OL508": Code(
        "a measurement of nothing",
        "A pass of type `Evaluate` has no evaluator, or one without metrics.",
        "passes:\n  quality: {type: Evaluate}   # and no `evaluator`, here or for the whole workflow",
        "Give it an `evaluator`: the name of one, or `{metrics: [perplexity], data_config: NAME}`.",
    ),
}
