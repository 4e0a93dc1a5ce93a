"""OL4xx: files, models and the environment."""

from olive_like.diagnostics.codes import Code

CODES: dict[str, Code] = {
    "OL401": Code(
        "a file that is not there",
        "A data file, a script or another local file that the workflow names does not exist. Relative paths count "
        "from the folder of the workflow file.",
        "data_configs:\n  - {name: train, source: data/trian.jsonl}",
        "Correct the path, or put the file there. `check --no-files` leaves this out, for checking a workflow on a "
        "machine that does not have the files.",
    ),
    "OL402": Code(
        "a model that is not there",
        "The path can only be meant as a local one (`./x`, `a/b/c`, `x.onnx`), and nothing is there. A name like "
        "`organisation/model` is a local folder where one exists, else a model on the hub.",
        "input_model: {type: OnnxModel, model_path: model.onnx}",
        "Correct the path: it counts from the folder of the workflow file, then from the current folder.",
    ),
}
