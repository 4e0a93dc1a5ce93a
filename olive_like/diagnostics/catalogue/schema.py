"""OL1xx: what may stand in a workflow."""

from olive_like.diagnostics.codes import Code

CODES = {
    "OL101": Code(
        "an unknown key",
        "The key means nothing here. Unknown keys are errors, because a misspelt setting that is passed over in "
        "silence costs an afternoon.",
        "passes:\n  lora: {type: LoRA, lora_aplha: 32}",
        "Correct the name. `olive-like passes NAME` lists the settings of a pass, `olive-like schema` all there is.",
    ),
    "OL102": Code(
        "something required is missing",
        "A key without which the part around it means nothing is not there.",
        "passes:\n  lora: {r: 8}   # which pass?",
        "Add it.",
    ),
    "OL103": Code(
        "a value of the wrong type",
        "The value is text where a number is expected, a list where text is expected, and so on.",
        "passes:\n  lora: {type: LoRA, r: sixteen}",
        "Write a value of the type that the message names.",
    ),
    "OL104": Code(
        "a value that is none of the choices",
        "The setting takes one of a few values.",
        "passes:\n  quantise: {type: OnnxDynamicQuantization, precision: int9}",
        "Write one of the values that the message names.",
    ),
    "OL105": Code(
        "a value out of range",
        "The number is too small or too large, or the text or list too short or too long.",
        "passes:\n  pretend: {type: Null, bytes: -1}",
        "Write a value within the range that the message names.",
    ),
    "OL106": Code(
        "settings that are refused",
        "The value is of the right type and still cannot be used, often because two settings do not go together.",
        "",
        "The message comes from the part that the settings belong to and says what it needs.",
    ),
    "OL107": Code(
        "an unknown type of pass",
        "No pass has this name: neither built in nor brought by an installed package.",
        "passes:\n  quantise: {type: OnnxDynamicQuantisation}",
        "`olive-like passes` lists the names. For a pass of another package, install that package.",
    ),
    "OL108": Code(
        "an unknown type of system",
        "No system has this name.",
        "systems:\n  box: {type: lokal}",
        "`olive-like systems` lists the names.",
    ),
    "OL109": Code(
        "an unknown type of model",
        "An input model is one of HfModel, PyTorchModel, OnnxModel, CompositeModel and Null.",
        "input_model: {type: HuggingModel, model_path: gpt2}",
        "Write one of these types.",
    ),
    "OL110": Code(
        "a name that refers to nothing",
        "A system, an evaluator or a data set is used by a name under which the workflow has none.",
        "passes:\n  lora: {type: LoRA, system: gpu}   # and `systems:` has no `gpu`",
        "Correct the name, or add what it should name.",
    ),
    "OL111": Code(
        "a search space that cannot be used",
        "A setting may be a space to search instead of a value: `{choice: [8, 16]}`, `{int: [8, 64]}` or "
        "`{float: [1e-6, 1e-3], log: true}`. Bounds must be in order, choices must not be empty, and every "
        "choice must be a value that the setting accepts.",
        "passes:\n  lora: {type: LoRA, r: {int: [64, 8]}}",
        "Correct the space.",
    ),
    "OL112": Code(
        "a name that cannot be used",
        "Names of passes, systems, evaluators, data sets and outputs become parts of file names and of paths like "
        "`lora.metrics`. They have letters, digits, `_` and `-`, at most 100 of them; `input_model` is taken.",
        "passes:\n  my/pass: {type: LoRA}",
        "Choose another name.",
    ),
    "OL113": Code(
        "a name that is given twice",
        "Two entries of a list have the same name, so a reference to it could mean either.",
        "data_configs:\n  - {name: train}\n  - {name: train}",
        "Rename one.",
    ),
    "OL114": Code(
        "a place in code that a file may not name",
        "A workflow names passes, systems and metrics by their registered names, and a user's own code by a script "
        "file that is hashed and shown in the plan. It never names a function of an installed module "
        "(`os.system`): reading a file must not be a way to call anything.",
        "passes:\n  x: {type: os.system}",
        "Write the registered name, or give the script's path where a setting takes one.",
    ),
}
