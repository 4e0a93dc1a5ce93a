"""Constants folded and idle nodes dropped, in time that grows with the graph and not with its square."""

from __future__ import annotations

from contextlib import AbstractContextManager

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer
from onnxscript.rewriter import RewritePass, onnx_fusions
from onnxscript.rewriter.rules import common as rules

from olive_like.passes._quiet import errors_only

# onnxscript's own optimizer has one rule more, which looks for two Slices at once. It goes through all of the graph for
# every node of it, which is most of the time that an export takes, and knows no Slice that PyTorch's exporter writes.
_RULES = (
    *rules.mul_by_1_rule.commute(),
    *rules.add_0_rule.commute(),
    rules.sub_0_rule,
    rules.div_by_1_rule,
    rules.dropout_zero_rule,
    rules.dropout_inference_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.two_reshapes_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule,
    rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.min_min_rule,
    rules.max_max_rule,
    rules.min_max_rule,
    rules.max_min_rule,
    rules.successive_clip_relu_rule,
    rules.successive_relu_clip_rule,
    rules.successive_relu_rule,
    rules.successive_clip_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.flatten_to_reshape_rule,
    rules.reshape_reshape_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.no_op_dynamic_scatter_nd_rule,
    rules.no_op_static_scatter_nd_rule,
    rules.normalize_pad_format_conv_rule,
    rules.normalize_pad_format_conv_integer_rule,
    rules.fuse_pad_into_conv_rule,
    rules.fuse_pad_into_conv_integer_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_qlinear_conv_rule,
    rules.remove_optional_bias_from_gemm_rule,
)
_ROUNDS = 2


def simplify(model: ir.Model) -> None:
    """Do in place what onnxscript's optimizer does."""
    with quiet_rules():
        _steps(model)
    _forget(model)


def _steps(model: ir.Model) -> None:
    common.InlinePass()(model)
    for _ in range(_ROUNDS):
        changed = optimizer.fold_constants(model, onnx_shape_inference=True).modified
        changed |= RewritePass(_RULES)(model).modified
        changed |= common.RemoveUnusedNodesPass()(model).modified
        common.RemoveUnusedFunctionsPass()(model)
        common.RemoveUnusedOpsetsPass()(model)
        if not changed:
            break
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    common.DeduplicateInitializersPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.OutputFixPass()(model)
    common.NameFixPass()(model)
    onnx_fusions.fuse(model)


def _forget(model: ir.Model) -> None:
    """Let the rules go of the graph, which they hold with all its weights until they see another."""
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1]))
    node = ir.node("Neg", [value])
    graph = ir.Graph([value], node.outputs, nodes=[node], opset_imports=dict(model.opset_imports), name="empty")
    _steps(ir.Model(graph, ir_version=model.ir_version))


def quiet_rules() -> AbstractContextManager[None]:
    """Without onnxscript's warnings of every operator that it cannot fold."""
    return errors_only("onnxscript")
