"""The input model, as Olive's files and looser ones write it."""

from __future__ import annotations

from pathlib import PurePosixPath

from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.tree import lift, take, without_effect
from olive_like.workflow.located import LocatedDict, LocatedList

# lower-cased type -> the type here
TYPES = {
    "hfmodel": "HfModel",
    "huggingfacemodel": "HfModel",
    "pytorchmodel": "PyTorchModel",
    "onnxmodel": "OnnxModel",
    "compositemodel": "CompositeModel",
}
MISSING = {
    "distributedhfmodel": ("DistributedHfModel", "Give the whole model; several devices are the work of a system."),
    "distributedhfmodelhandler": ("DistributedHfModel", "Give the whole model."),
    "distributedonnxmodel": ("DistributedOnnxModel", "Give the whole model."),
    "diffusersmodel": ("DiffusersModel", "Bring its parts one by one as PyTorchModel, each with a model_script."),
    "openvinomodel": ("OpenVINOModel", "Start from the PyTorch or ONNX model that it was made from."),
    "qnnmodel": ("QNNModel", "Start from the ONNX model that it was made from."),
    "snpemodel": ("SNPEModel", "Start from the ONNX model that it was made from."),
    "tensorflowmodel": ("TensorFlowModel", "Export it to ONNX first and bring it as OnnxModel."),
    "compositepytorchmodel": ("CompositePyTorchModel", "Bring its parts one by one as PyTorchModel."),
}
_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".zip", ".tar")
_NO_EFFECT = {
    "model_attributes": "attributes are read from the model itself",
    "generative": "this follows from the task",
    "mlflow_transformer_model_cache_dir": "the cache keeps what is fetched",
}


def translate_model(tree: LocatedDict, report: Report) -> None:
    """Bring `input_model` (or `model`) into its own form."""
    if "model" in tree and "input_model" not in tree:
        tree.move("model", tree, "input_model")
    model = tree.get("input_model")
    if isinstance(model, LocatedDict):
        _translate(model, report, "input_model")


def _translate(model: LocatedDict, report: Report, field: str) -> None:
    lift(model, "config", report, field)
    without_effect(model, _NO_EFFECT, report, field)
    _older(model, report, field)
    path = model.get("model_path")
    if isinstance(path, LocatedDict):
        _resource(model, path, report, field)
    _type(model, report, field)
    components = model.get("model_components")
    for index, component in enumerate(components if isinstance(components, LocatedList) else ()):
        if isinstance(component, LocatedDict):
            _translate(component, report, f"{field}.model_components[{index}]")


def _type(model: LocatedDict, report: Report, field: str) -> None:
    written = model.get("type")
    if written is None and isinstance(model.get("model_path"), str):
        kind = "OnnxModel" if str(model["model_path"]).endswith(".onnx") else "HfModel"
        mark = at_value(model, "model_path")
        model.put("type", kind, mark, mark)
        report.add(
            "OL350",
            f"the input model has no type: it is read as {kind}",
            mark,
            f"{field}.type",
            "Write `type` to choose another.",
        )
        return
    if not isinstance(written, str):
        return
    name = written.lower()
    if name in MISSING:
        proper, hint = MISSING[name]
        report.add("OL303", f"model type not available: {proper}", at_value(model, "type"), f"{field}.type", hint)
        return
    if name in TYPES and TYPES[name] != written:
        model["type"] = TYPES[name]
    if name == "pytorchmodel" and _is_hub_name(model):
        model["type"] = "HfModel"
        report.add(
            "OL350",
            f"{model['model_path']} names a Hugging Face model: it is read as HfModel",
            at_value(model, "type"),
            f"{field}.type",
            "PyTorchModel is for a model that a model_script of yours builds.",
        )


def _is_hub_name(model: LocatedDict) -> bool:
    """A PyTorchModel that no script builds and whose path is no file of weights."""
    path = model.get("model_path")
    if not isinstance(path, str) or any(model.get(key) for key in ("model_script", "model_loader")):
        return False
    return PurePosixPath(path.replace("\\", "/")).suffix.lower() not in _WEIGHTS


def _older(model: LocatedDict, report: Report, field: str) -> None:
    """`hf_config`, in which older files name the model."""
    inner = model.get("hf_config")
    if not isinstance(inner, LocatedDict):
        return
    if "model_name" in inner and "model_path" not in model:
        inner.move("model_name", model, "model_path")
    for old, new in (("task", "task"), ("from_pretrained_args", "load_kwargs"), ("model_loading_args", "load_kwargs")):
        if old in inner and new not in model:
            inner.move(old, model, new)
    for key in list(inner):
        report.add(
            "OL303", f"model setting not available: hf_config.{key}", at_key(inner, key), f"{field}.hf_config.{key}"
        )
    take(model, "hf_config")


def _resource(model: LocatedDict, path: LocatedDict, report: Report, field: str) -> None:
    """A path that is written as a resource: local ones are paths, others lie with a cloud service."""
    kind = str(path.get("type", "")).lower()
    inner = path.get("config") if isinstance(path.get("config"), LocatedDict) else path
    mark = at_value(model, "model_path")
    if kind in ("file", "folder", "local_file", "local_folder", "string_name") and isinstance(inner, LocatedDict):
        for key in ("path", "name"):
            if isinstance(inner.get(key), str):
                model.put("model_path", inner[key], mark, mark)
                return
    report.add(
        "OL303",
        f"model source not available: {path.get('type')}",
        at_value(path, "type"),
        f"{field}.model_path",
        "Fetch the model first and write its folder, or write its Hugging Face name.",
    )
    model.put("model_path", str(path.get("name") or path.get("path") or "model"), mark, mark)
