"""OL0xx: reading the file."""

from olive_like.diagnostics.codes import Code

CODES = {
    "OL001": Code(
        "the file cannot be read",
        "The workflow file does not exist, is a folder, or may not be read.",
        "",
        "Look at the path: it counts from the folder you are in.",
    ),
    "OL002": Code(
        "not a text file in UTF-8",
        "Workflow files are UTF-8 text. Other encodings, NUL and other control characters are refused, because "
        "they would mean different things on different machines. A byte order mark at the start is fine.",
        "",
        "Save the file as UTF-8 in your editor.",
    ),
    "OL003": Code(
        "the file is too large, too deep, or expands to too much",
        "There are bounds on the size of a file, on how deep it nests, and on how many values it has once YAML "
        "aliases are expanded, so that no file can exhaust the machine. A workflow of 10,000 passes is far below "
        "all of them.",
        "",
        "Keep data out of the workflow: name a file instead. Use fewer aliases inside of aliased parts.",
    ),
    "OL004": Code(
        "a syntax error",
        "The file is not YAML (or not JSON, where its name ends in .json) from the marked place on. What comes "
        "after it has not been looked at.",
        "passes:\n  quantise: {type: OnnxDynamicQuantization   # the closing brace is missing",
        "Look at the marked place and the line above it: a bracket, a quote, a comma or the indentation.",
    ),
    "OL005": Code(
        "a key occurs twice",
        "The same key stands twice in one mapping. Most readers keep the last one in silence; here neither is guessed.",
        "passes:\n  lora: {type: LoRA, r: 8}\n  lora: {type: LoRA, r: 16}",
        "Remove one, or rename one.",
    ),
    "OL006": Code(
        "a comment or a trailing comma in JSON",
        "JSON has neither comments nor a comma after the last entry.",
        '{\n  "seed": 1,   // for the paper\n}',
        "Remove it, or rename the file to .yaml: YAML reads JSON with `#` comments and trailing commas.",
    ),
    "OL007": Code(
        "a YAML tag",
        "Tags ask a reader to build objects (`!!python/object`) or types that workflows do not have. A workflow "
        "is data; nothing in it is ever executed by reading it.",
        "passes:\n  x: !!python/object:os.system [ls]",
        "Write the plain value.",
    ),
    "OL008": Code(
        "a value with two meanings",
        "YAML 1.1 and 1.2 read the value differently: `yes`, `no`, `on`, `off` are truth values to one and text "
        "to the other; `010` is 8 or 10; `1:30` is 90 or text; `1_000` is a number or text.",
        "passes:\n  conv: {type: OnnxConversion, use_dynamo_exporter: yes}",
        "Write `true` or `false`, the plain number, or put it in quotes if it is text. `1e-5` is a number.",
    ),
    "OL009": Code(
        "a number that is not finite",
        "NaN and infinity are refused: they are not equal to themselves or swallow every comparison, and JSON does "
        "not have them. So are numbers of hundreds of digits.",
        "passes:\n  lora: {type: LoRA, learning_rate: .inf}",
        "Leave the setting out to get its default, or write a finite number.",
    ),
    "OL010": Code(
        "not a workflow",
        "The file is empty, holds several documents, or holds a list or a single value where a mapping of "
        "`key: value` is expected.",
        "- type: LoRA",
        "Begin with `input_model:` and `passes:`.",
    ),
    "OL011": Code(
        "a key that is not text",
        "Keys are text. `null`, `yes`, a list or a mapping as a key are not the same to every reader.",
        "? [a, b]\n: 1",
        "Put the key in quotes.",
    ),
    "OL012": Code(
        "an alias inside of what it refers to",
        "An alias (`*name`) that stands within its own anchor (`&name`) describes something endless.",
        "a: &a\n  b: *a",
        "Write out what is meant.",
    ),
    "OL013": Code(
        "an environment variable that is not set",
        "`${NAME}` takes the value of an environment variable; `${NAME:-default}` has a default for when it is "
        "not set. Only settings that hold a path or a name of a model or of data are expanded.",
        "output_dir: ${RESULTS}/model",
        "Set the variable, or write a default: `${RESULTS:-results}/model`.",
    ),
    "OL014": Code(
        "an override that cannot be applied",
        "`--set` takes a path of keys and a value: `--set passes.lora.r=8`. The part before `=` must lead to a "
        "setting; the value is read as YAML.",
        "olive-like run workflow.yaml --set passes.lora",
        "Write `--set KEY.KEY=VALUE`, with the names as they stand in the file.",
    ),
}
