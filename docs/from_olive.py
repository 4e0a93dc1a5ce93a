"""Writes docs/from-olive.md from the registry, the tables of the dialect, and the few tables below.

python docs/from_olive.py            write the page
python docs/from_olive.py --check    exit with 1 if the page is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from olive_like.cli import COMMANDS
from olive_like.metrics.catalog import DEFAULTS, QUALITY, SPEED
from olive_like.passes import registry
from olive_like.systems import registry as systems
from olive_like.workflow.dialects import data, evaluators, model, toplevel, unavailable
from olive_like.workflow.dialects import systems as dialect_systems

PAGE = Path(__file__).with_name("from-olive.md")

INTRODUCTION = """\
# Coming from Olive

<!-- Written by docs/from_olive.py from the registry and the dialect's own tables. Change those, not this page. -->

Bring your workflow file as it is, JSON or YAML:

<!-- not run: the file is yours; tests/dialects/ runs files of Olive's -->
```sh
olive-like check my-olive-config.json     # what of it works here, and what does not, with line numbers
olive-like plan my-olive-config.json      # what would run, and what is in the cache already
olive-like run my-olive-config.json --test    # the whole of it in seconds, on small things
olive-like run my-olive-config.json
```

`--test` (also `--test-model`) puts a tiny model of the same architecture, with random weights, in the place of the
input model; a few made-up rows, with the columns that the file names, in the place of data that would have to be
downloaded; and this machine's processor in the place of the systems. Training stops after two steps, a search after
three trials, local data after eight rows, timing after half a second; calibration that is given no text gets some.
Goals are put aside, and measurements whose questions are on the hub. All of this is printed, scripts of yours run as
they are, and the results go to `output_dir`, or the folder of `-o`, with `-test` added: what is tried is whether the
passes take each other's results and settings, not how good the outcome is. With other commands (`finetune`, `quantize`
…) `--test` puts the tiny model in place of `-m`, leaves an adapter out, and writes to DIR-test; data and settings stay.

Of 330 files of Olive's published recipes 114 are for vendors' own tools, which are not here; of the other 216, 207 use
only what is here. With `--test` 190 of these run, their authors' scripts and ONNX files stood in for; 6 measure nothing
but questions on the hub; 11 do not run, 5 of them for an architecture that onnxruntime-genai's builder lacks. Count
files of your own with `make recipes DIR=… RUN=1`.

No key of the file is dropped in silence. Each one is either translated; or accepted with a note (OL351) because nothing
depends on it here; or refused with its place in the file: OL301 for a pass that there is not, OL302 for one that is
declared and not implemented, OL303 to OL309 for models, data, systems, evaluators, searches, settings and builds.
`olive-like explain OL301` says more about a code.

What is different, and worth knowing before the first run:

- **Unknown keys are errors**, with the nearest known name. A setting that Olive passes over is found here.
- **A failed pass is a failed run**: the exit code is 1, and nothing half-made is put into `output_dir`.
- **The cache goes by content.** Edit a data file or a script and what stands on it runs again; move or touch it and
  nothing does. So there is nothing to clean before a run, and `clean_cache` has no effect.
- **Relative paths count from the workflow file**, not from the folder that the command is called in.
- **Passes form a graph.** One that names no `input` follows the one above it, as in Olive; `input: name` makes a
  branch.
- **Outputs.** Where a file of Olive's has one final model, that is put into `output_dir` itself (`layout: olive`).
  Where it has several, and in files of this engine's own form, each is in `output_dir/<name>/`.
- **A search opens only what the file leaves open**: `SEARCHABLE_VALUES`, a space, a list of alternatives. Without any
  of these the passes run once, and a warning says so.
- **One system instead of two.** `host`, where passes run, and `target`, what models are made for, become one system:
  the host, with the target's accelerators. `system:` beside a pass chooses another for it.
"""

# Olive's command -> what to do while there is no command of that name here.
INSTEAD = {
    "init": "Write a file; `olive-like schema` gives an editor completion and help for it.",
    "run": "",
    "run-pass": "A workflow with that pass; `olive-like plan FILE --only PASS`, `run FILE --until PASS`.",
    "auto-opt": "A workflow with `OnnxConversion` or `ModelBuilder` and a quantiser.",
    "optimize": "A workflow with `OnnxConversion` or `ModelBuilder` and a quantiser.",
    "capture-onnx-graph": "A workflow with `OnnxConversion` or `ModelBuilder`.",
    "finetune": "A workflow with `LoRA`, `QLoRA` or `DoRA`, then `MergeAdapterWeights`.",
    "generate-adapter": "A workflow with `ExtractAdapters`.",
    "convert-adapters": "A workflow with `ExtractAdapters`.",
    "quantize": "A workflow with one of the quantisers below.",
    "tune-session-params": "A workflow with `OrtSessionParamsTuning`.",
    "generate-cost-model": "Not available.",
    "configure-qualcomm-sdk": "Not available.",
    "shared-cache": "A `cache_dir` that several machines see; `olive-like cache export` and `import`.",
    "extract-adapters": "A workflow with `ExtractAdapters`.",
    "generate-model-package": "Not available: the output folder has everything, with `provenance.json`.",
    "benchmark": "A workflow with `evaluators` and no passes: its input model is measured.",
}

# top-level setting -> what becomes of it; those without effect and those that are missing come from the dialect
SETTINGS = {
    "input_model": "The same. `config:` inside of it is the same one level deeper.",
    "data_configs": "The same names; the four parts of a data set become one flat set of settings, see below.",
    "systems": "The same names; types below.",
    "host, target": "Become `system`, see above.",
    "engine": "The same settings one level deeper.",
    "passes": "The same. Types in any case; settings flat or under `config`; a list means alternatives to search.",
    "evaluators, evaluator": "The same. It measures the outputs; `evaluator` beside a pass measures that pass.",
    "metrics": "Metrics that evaluators name; they are put where they are named.",
    "evaluate_input_model": "The same. Without passes it is true by itself.",
    "search_strategy": "`false`: no search. `sampler: sequential` is `grid`; `max_samples`, `max_time`, `seed` and "
    "`stop_when_goals_met` are the same; `max_iter` is `max_samples`.",
    "builds": "Branches of one graph and one output each; passes with the same beginning are shared.",
    "cache_dir, output_dir": "The same, relative to the workflow file.",
}

OTHERS = "any other type"
DATA = {
    "huggingface_dataset": "`source`, `subset`, `split`, `files`. Without a split: `validation`, as in Olive.",
    "local_dataset, simple_dataset": "`source`; the data loader of your script brings the rows.",
    "dummy_dataset, transformers_dummy_dataset, transformers_token_dummy_dataset": "`dummy: {…}`.",
    "transformers_prompt_dummy_dataset": "`dummy: {generate: true}`.",
    "image_folder_dataset": "`source`, `image: {…}`.",
    "raw_dataset": "Not available (OL304).",
    "huggingface_pre_process, text_generation_huggingface_pre_process": "`input_cols`, `label_cols`, `text_template`, "
    "`text_field`, `chat_template`, `strategy`, `max_seq_len`, `padding`, `add_special_tokens`; `max_samples` counts "
    "rows, and is `max_examples` with `strategy: join`.",
    "ner_huggingface_preprocess": "`shape: token_classification`.",
    "speech_transcription_pre_process, audio_classification_pre_process": "`audio: {…}`.",
    "vision_vqa_pre_process": "`image: {…}`; options and system prompts are not available (OL304).",
    "tokenizer_pre_process": "Not available (OL304).",
    "text_classification_post_process, text_generation_post_process": "No effect: the task says what an output means.",
    "ner_post_process": "`shape: token_classification`.",
    "default_dataloader, default_calibration_dataloader": "`batch_size`, `shuffle`, `workers`.",
    "no_auto_batch_dataloader": "`auto_batch: false`.",
    "dataloader_with_ignored_batch_fields": "Not available (OL304).",
    OTHERS: "A function of your `user_script`: `load_function`, `process_function`, `post_process_function` "
    "or `dataloader_function`, each with its `…_params`.",
}

SPACES = {
    '`{"type": "Categorical", "support": [...]}`': "`{choice: [...]}`",
    '`{"type": "Boolean"}`': "`{choice: [true, false]}`",
    '`"SEARCHABLE_VALUES"`': "`{choice: [...]}` of all values, for settings that have few",
    '`"DEFAULT_VALUE"`': "the setting's default",
    '`{"type": "Conditional", ...}`': "not available (OL307)",
    "`search_space:` at the top": "the setting of that name in every pass that has it",
    "`training_config:` at the top": "settings of every pass that trains",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def commands() -> str:
    rows = ((f"`olive {name}`", f"`olive-like {name}`" if name in COMMANDS else text) for name, text in INSTEAD.items())
    return table(("Olive", "here"), rows)


def settings() -> str:
    rows = [(code(name), text) for name, text in SETTINGS.items()]
    rows += [(code(name), f"No effect: {why}.") for name, why in toplevel.NO_EFFECT.items()]
    rows += [(code(name), f"Not available. {hint}") for name, hint in toplevel.NOT_AVAILABLE.items()]
    return table(("setting", "here"), rows)


def passes() -> str:
    return table(("Olive's pass", "here", ""), (_pass(name) for name in unavailable.NAMES if name != "AitkPython"))


def _pass(name: str) -> tuple[str, str, str]:
    try:
        entry = registry.entry(name)
    except registry.UnknownPass:
        return f"`{name}`", "no", _near(name)
    cls = registry.load(name)
    if not cls.available():
        return f"`{name}`", "declared", f"{registry.doc(cls)} Not implemented yet. {_near(name)}".strip()
    alias = "" if entry.name == name else f" (`{entry.name}`)"
    return f"`{name}`", f"yes{alias}", registry.doc(cls)


def _near(name: str) -> str:
    return unavailable.hint_for(name) if unavailable.NEAR.get(name) else ""


def own_passes() -> str:
    olives = {name.lower() for name in unavailable.NAMES}
    rows = ((f"`{name}`", registry.doc(registry.load(name))) for name in registry.names() if name.lower() not in olives)
    return table(("pass", ""), rows)


def components() -> str:
    containers = ", ".join(f"`{name}`" for name in data.CONTAINER_NAMES)
    rows = ((name if name == OTHERS else code(name), text) for name, text in DATA.items())
    return f"The containers ({containers}) stand for their loaders.\n\n" + table(("component", "here"), rows)


def models() -> str:
    rows = [(f"`{name}`", "The same.") for name in sorted(set(model.TYPES.values()))]
    rows += [(f"`{name}`", f"Not available (OL303). {hint}") for name, hint in dict(model.MISSING.values()).items()]
    rows.append(("`PyTorchModel` with a hub name and no script", "`HfModel`, with a note."))
    return table(("type", "here"), rows)


def system_types() -> str:
    rows = []
    for name in ("LocalSystem", "PythonEnvironment", "Docker"):
        cls = systems.load(name)
        rows.append((f"`{name}`", f"`{systems.entry(name).name}`: {(cls.__doc__ or '').strip().splitlines()[0]}"))
    for name, hint in (("AzureML", "azureml"), ("IsolatedORT", "isolatedort")):
        rows.append((f"`{name}`", f"Not available (OL305). {dialect_systems.MISSING[hint]}"))
    return table(("type", "here"), rows)


def metrics() -> str:
    rows = [("`accuracy`", ", ".join(f"`{name}`" for name in QUALITY))]
    rows += [(f"`{kind}`", ", ".join(f"`{name}`" for name in values)) for kind, values in SPEED.items()]
    rows.append(("`lm_eval`", "whatever the tasks of lm-evaluation-harness give, as `task.value`"))
    rows.append(("`mteb`", "the main score of each task of MTEB, as `task.main_score`"))
    rows.append(("`custom`", "whatever your `metric_func` or `evaluate_func` returns"))
    names = ", ".join(f"`{a}` is `{b}`" for a, b in evaluators.VALUES.items())
    missing = ", ".join(f"`{name}`" for name in evaluators.UNMEASURED)
    return (
        table(("type", "values"), rows)
        + f"\n\nOf a metric without `sub_types` the usual value is measured (`accuracy`: `{DEFAULTS['accuracy']}`). "
        + f"Under the names of Hugging Face's metrics, {names}. Not available (OL306): {missing}. "
        + "An `LMEvaluator` becomes a metric of type `lm_eval`, an `MTEBEvaluator` one of type `mteb`; they need the "
        + "extras `lm-eval` and `mteb`."
    )


def page() -> str:
    sections = {
        "Commands": commands(),
        "Settings at the top of a file": settings(),
        "Models": models(),
        "Passes": passes() + "\n\n### Passes that Olive does not have\n\n" + own_passes(),
        "Data": components(),
        "Systems": system_types(),
        "Evaluators and metrics": metrics(),
        "Search": table(("written", "read as"), SPACES.items()),
    }
    return INTRODUCTION + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())


def main(arguments: Sequence[str]) -> int:
    text = page()
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text("utf-8") == text:
            return 0
        print(f"{PAGE} is not current: run `python docs/from_olive.py`", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
