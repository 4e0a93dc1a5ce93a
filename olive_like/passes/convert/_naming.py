"""Names that a person can follow: nodes and weights are called after the modules that they come from."""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"
_WRAPPER = "inner"


def name_nodes(model: ir.Model) -> None:
    """`node_linear_3` -> `/model/layers.0/self_attn/q_proj/MatMul`, as TorchScript's export names them.

    The wrapper around the model, which is ours and not the user's, is left out of every name.
    """
    used: Counter[str] = Counter()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        scopes = node.metadata_props.get(_SCOPES)
        name = _path(scopes, node.op_type) if scopes else _without_wrapper(node.name or f"/{node.op_type}")
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name] - 1}"
        if not scopes:
            for output in node.outputs:
                output.name = _without_wrapper(output.name or "")
    _name_weights(model)


def _path(scopes: str, op: str) -> str:
    """The innermost module of a list such as `['', 'inner', 'inner.model', 'linear_3']`, and the op.

    A module's path is written with slashes, but the number of a layer stays with the list that it is in.
    """
    modules = [
        scope for scope in ast.literal_eval(scopes)[:-1] if scope == _WRAPPER or scope.startswith(_WRAPPER + ".")
    ]
    path = modules[-1].removeprefix(_WRAPPER).removeprefix(".") if modules else ""
    parts: list[str] = []
    for part in path.split(".") if path else []:
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return "/" + "/".join([*parts, op])


def _without_wrapper(name: str) -> str:
    if name.startswith(f"/{_WRAPPER}/"):
        return name.removeprefix(f"/{_WRAPPER}")
    return name.removeprefix(f"{_WRAPPER}.")


def _name_weights(model: ir.Model) -> None:
    taken = {value.name for value in model.graph.inputs} | {value.name for value in model.graph.outputs}
    for value in list(model.graph.initializers.values()):
        name = _without_wrapper(value.name or "")
        user = next((node for node, _ in value.uses()), None)
        folded = name.startswith(("val_", "onnx::MatMul_", "onnx::Gemm_"))
        if folded and user is not None and user.op_type in ("MatMul", "Gemm") and value is user.inputs[1]:
            # A transposed weight: only its module is known any more.
            name = (user.name or "").removeprefix("/").rpartition("/")[0].replace("/", ".") + ".weight"
        count = 0
        while name in taken or (name != value.name and name in model.graph.initializers):
            count += 1
            name = f"{name}_{count}"
        taken.add(name)
        value.name = name
