"""A graph made ready for static quantisation: shapes known everywhere, constants folded, simple fusions done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, fits_no_file, load_ir, save_ir
from olive_like.passes._onnx_rewrite import EXACT, like_input, prove, target_of
from olive_like.passes._onnx_runtime import ORT_ERRORS
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._select import name_nodes

_ENTRY = "session.optimized_model_external_initializers_file_name"
_OUTER_LIMIT = 2**31 - 1
_AUTO_MERGE, _GUESS_RANK, _QUIET = True, False, 0


def preprocess(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The pass of its own."""
    for path in components(model).values():
        work = context.scratch / path.stem / path.name
        work.parent.mkdir(parents=True, exist_ok=True)
        graph = load_ir(path)
        name_nodes(graph)
        save_ir(graph, work)
        done = prepare(work, not config.skip_optimization, not config.skip_onnx_shape, not config.skip_symbolic_shape)
        save_ir(load_ir(done), target_of(model, path, context), like_input(config, path))
    return prove(model, config, context, EXACT)


def prepare(path: Path, optimize: bool = True, shapes: bool = True, symbolic: bool = True) -> Path:
    """Prepare the graph in a scratch folder; returns where the result lies, beside it."""
    if symbolic:
        path = _symbolic(path)
    if optimize:
        path = _optimized(path)
    if shapes:
        target = path.with_suffix(".shapes.onnx")
        onnx.shape_inference.infer_shapes_path(str(path), str(target))
        path = target
    return path


def _symbolic(path: Path) -> Path:
    """Shapes through onnxruntime's own operators too; what cannot be inferred stays unknown."""
    model = onnx.load(path, load_external_data=False)
    inference = SymbolicShapeInference(_OUTER_LIMIT, _AUTO_MERGE, _GUESS_RANK, _QUIET, "")
    onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    inference._preprocess(model)
    while inference.run_:
        known = inference._infer_impl()
        if not known:
            break  # a value without a shape: what was found so far is kept, and what it is is still right
    inference._update_output_from_vi()
    target = path.with_suffix(".symbolic.onnx")
    large = fits_no_file(model)
    onnx.save_model(inference.out_mp_, target, save_as_external_data=large, location=f"{target.name}.data")
    return target


def _optimized(path: Path) -> Path:
    """onnxruntime's basic optimisation, which writes standard operators only."""
    target = path.with_suffix(".basic.onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    if any(path.parent.glob(f"{path.name}.data")):
        options.add_session_config_entry(_ENTRY, f"{target.name}.data")
    try:
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise PassError(f"onnxruntime cannot load {path.name}: {str(error).splitlines()[0]}") from error
    return target
