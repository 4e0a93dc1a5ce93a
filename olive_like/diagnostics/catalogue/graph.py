"""OL2xx: the graph."""

from olive_like.diagnostics.codes import Code
from olive_like.diagnostics.model import Severity

CODES: dict[str, Code] = {
    "OL201": Code(
        "an input that is not there",
        "A pass names as its input something that is neither another pass nor `input_model`.",
        "passes:\n  lora: {type: LoRA}\n  onnx: {type: OnnxConversion, input: lra}",
        "Name one of the workflow's passes. Without `input`, a pass follows the one written above it.",
    ),
    "OL203": Code(
        "an input of the wrong kind",
        "Every pass takes artifacts of certain kinds and makes one of a certain kind. The pass before this one makes "
        "something that this one cannot take.",
        "passes:\n  lora: {type: LoRA}\n  int8: {type: OnnxDynamicQuantization}   # takes onnx_model, not adapter",
        "Put a pass in between that makes what is needed (the hint names some), or take another input.",
    ),
    "OL204": Code(
        "a cycle",
        "Passes wait for each other in a circle, so none could run first. The shortest circle is shown.",
        "passes:\n  a: {type: Null, input: b}\n  b: {type: Null, input: a}",
        "Change one `input` of the circle.",
    ),
    "OL205": Code(
        "the wrong number of inputs",
        "A pass takes a certain number of inputs: most take one, passes that join take several.",
        "passes:\n  both: {type: MergeAdapterWeights, inputs: [a, b]}",
        "Name as many inputs as the message says.",
    ),
    "OL206": Code(
        "something that nothing uses",
        "A data set, system or evaluator is defined and no pass uses it, or a pass is not needed for any output. "
        "It has no effect on the run.",
        "outputs: {best: int8}   # and passes that int8 does not stand on",
        "Use it, or take it out.",
        Severity.WARNING,
    ),
    "OL208": Code(
        "no input model",
        "The first pass needs a model to start from, and the workflow names none.",
        "passes:\n  lora: {type: LoRA}",
        "Add `input_model: {type: HfModel, model_path: …}`.",
    ),
    "OL209": Code(
        "settings that do not go together",
        "Each setting is fine alone; together, or with this kind of input, the pass cannot work.",
        "",
        "The message says which settings, and what would work.",
    ),
    "OL210": Code(
        "a workflow that does nothing",
        "It has no passes, and does not measure its input model either.",
        "input_model: {type: HfModel, model_path: some/model}\npasses: {}",
        "Add a pass; or, to measure the model as it is, an `evaluator` and `evaluate_input_model: true`.",
        Severity.WARNING,
    ),
}
