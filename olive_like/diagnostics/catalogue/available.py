"""OL3xx: what is not available here, and what a file of another dialect was read as."""

from olive_like.diagnostics.codes import Code
from olive_like.diagnostics.model import Severity

CODES: dict[str, Code] = {
    "OL301": Code(
        "a pass type that is not available",
        "The name is that of a pass which other tools have, mostly one for a single vendor's hardware; there is none "
        "of that name here. The rest of the file was checked all the same.",
        "passes:\n  convert: {type: OpenVINOConversion}",
        "Use the pass that the hint names, where there is one; take the pass out; or write it (a pass is one class) "
        "and bring it with an entry point.",
    ),
    "OL302": Code(
        "a pass that is declared and not implemented",
        "The pass is known, with its settings and the kinds of model that it takes and makes, so workflows with it can "
        "be checked; nothing can run it yet.",
        "",
        "Take the pass out, or use another that does the same job.",
    ),
    "OL303": Code(
        "a model that is not available",
        "The input model is of a type, or comes from a place, that cannot be read here.",
        "input_model: {type: TensorFlowModel, model_path: saved}",
        "Bring the model as HfModel, PyTorchModel (with a script that builds it) or OnnxModel.",
    ),
    "OL304": Code(
        "a data component or setting that is not available",
        "A data set is written in parts (load, pre-process, post-process, data loader), and one part names a component "
        "or a setting that has no counterpart here.",
        "data_configs:\n  - name: d\n    type: RawDataContainer",
        "Most of what a component does can be done by a function of your own: `user_script` with `load_function`, "
        "`process_function`, `post_process_function` or `dataloader_function`.",
    ),
    "OL305": Code(
        "a system that is not available",
        "The type of system, or a setting of it, has no counterpart here.",
        "systems:\n  cloud: {type: AzureML}",
        "`olive-like systems` lists the types there are.",
    ),
    "OL306": Code(
        "an evaluator or metric that is not available",
        "The evaluator or metric, or a setting of it, has no counterpart here.",
        "evaluators:\n  e: {type: PictureEvaluator}",
        "`metrics:` takes the built-in ones and functions of your own (`user_config: {user_script, metric_func}`).",
    ),
    "OL307": Code(
        "something of a search that is not available",
        "The kind of search space, the sampler or a setting of the search has no counterpart here.",
        "passes:\n  p: {type: Gptq, bits: {type: Conditional, parents: [sym], support: {}}}",
        "Write a space as {choice: [...]}, {int: [low, high]} or {float: [low, high]}.",
    ),
    "OL308": Code(
        "a workflow setting that is not available",
        "The setting is known from other tools and has no counterpart here; passing over it would change what the "
        "file does.",
        "packaging_config: {type: Zipfile}",
        "Take it out; the hint says how to get what it does.",
    ),
    "OL309": Code(
        "a build that cannot be had as it is written",
        "`builds` are several pipelines over the passes of one file. They become branches of one graph; something in "
        "this one has no counterpart there.",
        "builds:\n  cpu: {pipeline: [convert, quantise]}   # and `passes:` has no `quantise`",
        "Correct it, or write the branches yourself: give each pass the `input` that it follows.",
    ),
    "OL311": Code(
        "a setting written in two places",
        "The same setting stands flat and nested (under `config`, `engine`, `params` …), with two values.",
        "passes:\n  lora: {type: LoRA, r: 8, config: {r: 16}}",
        "Keep one of them.",
    ),
    "OL350": Code(
        "what a file was read as",
        "The file leaves something open, or uses a looser name, and a choice was made in reading it.",
        "input_model: {type: PyTorchModel, model_path: gpt2}   # read as HfModel",
        "Nothing, if the choice is what you meant; otherwise write what the hint says.",
        Severity.NOTE,
    ),
    "OL351": Code(
        "a setting without effect here",
        "The setting is known from other tools. Here nothing depends on it, for the reason that the message gives.",
        "log_severity_level: 1",
        "Nothing; or take it out.",
        Severity.NOTE,
    ),
    "OL352": Code(
        "a setting that works otherwise here",
        "The setting is accepted, and does not do exactly what it does in the tool that the file was written for.",
        "",
        "Read the message, and change the file if the difference matters to you.",
        Severity.WARNING,
    ),
}
