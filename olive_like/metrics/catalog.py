"""Every value that can be measured: what it is called, its unit, and which way is better."""

from __future__ import annotations

from typing import NamedTuple

from olive_like.diagnostics.nearest import did_you_mean


class Value(NamedTuple):
    """One measurable value."""

    higher_is_better: bool
    unit: str = ""
    about: str = ""


QUALITY: dict[str, Value] = {
    "accuracy_score": Value(True, "", "part of the predictions that are right"),
    "f1_score": Value(True, "", "harmonic mean of precision and recall"),
    "precision": Value(True, "", "part of what was predicted as a class that is of it"),
    "recall": Value(True, "", "part of a class that was predicted as it"),
    "auroc": Value(True, "", "area under the ROC curve"),
    "mse": Value(False, "", "mean squared error"),
    "exact_match": Value(True, "", "part of the generated texts that equal the wanted one"),
    "loss": Value(False, "nats", "mean negative log likelihood of the wanted tokens"),
    "perplexity": Value(False, "", "exponential of the loss"),
    "token_accuracy": Value(True, "", "part of the wanted tokens that the model finds most likely"),
    "bleu": Value(True, "", "BLEU of generated texts (sacrebleu)"),
    "rouge1": Value(True, "", "ROUGE-1 F of generated texts"),
    "rouge2": Value(True, "", "ROUGE-2 F of generated texts"),
    "rougeL": Value(True, "", "ROUGE-L F of generated texts"),
    "wer": Value(False, "", "word error rate of generated texts"),
    "rtfx": Value(True, "", "seconds of sound that a second of work writes down"),
    "token_agreement": Value(True, "", "part of the places where it finds the same most likely as the input model"),
    "kl": Value(False, "nats", "mean divergence of its distribution from the input model's"),
}
GENERATED = ("bleu", "rouge1", "rouge2", "rougeL", "exact_match", "wer")  # of texts that the model writes
SPEECH = ("rtfx",)  # of recordings
HARNESSES = ("lm_eval", "mteb")  # these bring questions, data and scores of their own
AGAINST_REFERENCE = ("token_agreement", "kl")  # these need the input model beside the measured one

TIMED = ("latency", "throughput", "generation", "load_time", "memory")  # whose numbers others' work would change

_STATISTICS = ("avg", "max", "min", "p50", "p75", "p90", "p95", "p99", "p999")
SPEED: dict[str, dict[str, Value]] = {
    "latency": {name: Value(False, "ms", f"{name} time of one call") for name in _STATISTICS},
    "throughput": {name: Value(True, "1/s", f"{name} samples per second") for name in _STATISTICS},
    "generation": {
        "time_to_first_token": Value(False, "ms", "from the prompt to the first new token"),
        "tokens_per_second": Value(True, "1/s", "new tokens per second after the first"),
    },
    "load_time": {"seconds": Value(False, "s", "from the folder to a model that answers")},
    "memory": {
        "peak": Value(False, "bytes", "most memory of a process that loads the model and answers"),
        "model": Value(False, "bytes", "the same less what the libraries alone take"),
        "gpu_peak": Value(False, "bytes", "most memory on the GPU that torch took"),
    },
    "size_on_disk": {"bytes": Value(False, "bytes", "size of all files of the model")},
}

DEFAULTS: dict[str, str] = {
    "accuracy": "accuracy_score",
    "latency": "avg",
    "throughput": "avg",
    "load_time": "seconds",
    "memory": "peak",
    "size_on_disk": "bytes",
}

# What `metric_config` may have, by the type of the metric. `task`, `num_classes` and `num_labels` have no effect:
# how many classes there are is seen.
SETTINGS: dict[str, tuple[str, ...]] = {
    "accuracy": ("average", "max_new_tokens", "normalizer", "task", "num_classes", "num_labels"),
    "latency": ("warmup_num", "repeat_test_num", "sleep_num", "max_seconds", "batch_size", "sequence_length"),
    "throughput": ("warmup_num", "repeat_test_num", "sleep_num", "max_seconds", "batch_size", "sequence_length"),
    "generation": ("prompt_length", "generation_length", "repeat_test_num"),
    "load_time": ("repeat_test_num",),
    "memory": ("batch_size", "sequence_length"),
    "size_on_disk": (),
}
_WORDS = {"average": ("binary", "micro", "macro", "weighted"), "normalizer": ("basic", "english", "none")}
_SECONDS = ("sleep_num", "max_seconds")
_AT_LEAST_ONE = ("repeat_test_num", "batch_size", "sequence_length", "prompt_length", "max_new_tokens")


def wrong_setting(kind: str, name: str, value: object) -> str | None:
    """Why a metric of a type cannot have a setting with this value; None if it can."""
    known = SETTINGS.get(kind)
    if known is None:
        return None
    if name not in known:
        near = did_you_mean(name, known) or (f"There are: {', '.join(known)}." if known else "It has none.")
        return f"{kind} has no setting `{name}`. {near}"
    if name in _WORDS:
        return None if value in _WORDS[name] else f"`{name}` is one of {', '.join(_WORDS[name])}, not {value!r}"
    if name == "task":
        return None
    least = 1 if name in _AT_LEAST_ONE else 0
    number = (int, float) if name in _SECONDS else int
    if isinstance(value, number) and not isinstance(value, bool) and value >= least:
        return None
    return f"`{name}` is a {'number of seconds' if name in _SECONDS else 'whole number'} from {least} on, not {value!r}"


def names() -> list[str]:
    """Every name that may stand alone in a list of metrics."""
    return ["accuracy", *QUALITY, *SPEED]


def values_of(kind: str) -> dict[str, Value]:
    """The values that a metric of a type can have; empty where the user's own code says them."""
    return QUALITY if kind == "accuracy" else SPEED.get(kind, {})


def own_function(name: str) -> tuple[str, str] | None:
    """`mine.py:score` as a file and a function in it."""
    file, _, function = name.rpartition(":")
    return (file, function) if file.endswith(".py") and function.isidentifier() else None


def shorthand(name: str) -> tuple[str, str | None] | None:
    """What `metrics: [perplexity, latency]` means: a type and its value."""
    if name in QUALITY:
        return "accuracy", name
    if own_function(name):
        return "custom", None
    return (name, None) if name == "accuracy" or name in SPEED else None
