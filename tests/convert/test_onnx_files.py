"""ONNX folders: what is refused, and what is written."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import (
    components,
    copy_side_files,
    describe_io,
    finish,
    load_ir,
    load_proto,
    save_ir,
)
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxFileConfig

pytestmark = pytest.mark.heavy


def small_graph() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.arange(64 * 64, dtype=np.float32).reshape(64, 64), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "mm")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    root.mkdir()
    onnx.save(
        small_graph(), root / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    (root / "tokenizer.json").write_text("{}")
    return root


def relocated(folder: Path, **entries: str) -> OnnxModel:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    external = model.graph.initializer[0].external_data
    for key, value in entries.items():
        for entry in list(external):
            if entry.key == key:
                external.remove(entry)
        external.add(key=key, value=value)
    onnx.save(model, folder / "model.onnx")
    return OnnxModel(folder)


@pytest.mark.parametrize(
    "location",
    ["../../etc/passwd", "/etc/passwd", "a/../../x", "C:\\x", "..\\x", "\\\\host\\share", "", "model.onnx.data\0"],
)
def test_data_outside_of_the_folder_is_refused(folder: Path, location: str) -> None:
    with pytest.raises(PassError, match="outside of the model's folder"):
        load_proto(relocated(folder, location=location))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"length": "999999999999999"}, "declares 999,999,999,999,999"),
        ({"offset": "1"}, "ends at byte 16,385"),
        ({"offset": "-5"}, "no size in bytes"),
        ({"length": "9" * 30}, "no size in bytes"),
    ],
)
def test_what_the_file_does_not_have_is_refused(folder: Path, entries: dict[str, str], said: str) -> None:
    with pytest.raises(PassError, match=said):
        load_proto(relocated(folder, **entries))


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    data = folder / "model.onnx.data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PassError, match="symbolic link"):
        load_proto(OnnxModel(folder))
    data.unlink()
    os.link(tmp_path / "elsewhere", data)
    with pytest.raises(PassError, match="hard link"):
        load_proto(OnnxModel(folder))


def test_a_linked_folder_inside_the_model_is_refused_but_a_link_to_the_model_is_not(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert load_proto(OnnxModel(tmp_path / "link")).graph.name == "g"
    (tmp_path / "other").mkdir()
    (folder / "model.onnx.data").rename(tmp_path / "other" / "w")
    (folder / "sub").symlink_to(tmp_path / "other")
    with pytest.raises(PassError, match="the folder sub is a symbolic link"):
        load_proto(relocated(folder, location="sub/w"))


def test_a_cut_or_missing_file_is_one_line(folder: Path) -> None:
    data = folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(PassError, match=r"ends at byte 16,384 of model.onnx.data, which has 16,383"):
        load_proto(OnnxModel(folder))
    data.unlink()
    with pytest.raises(PassError, match=r"cannot read model.onnx.data"):
        load_proto(OnnxModel(folder))
    (folder / "model.onnx").write_bytes(b"not protobuf at all")
    with pytest.raises(PassError, match="is not an ONNX model"):
        load_proto(OnnxModel(folder))
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(PassError, match="has no graph"):
        load_proto(OnnxModel(folder))


def test_cycles_are_refused(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    model.graph.node.add(op_type="Add", name="a", input=["y", "c"], output=["b"])
    model.graph.node.add(op_type="Relu", name="r", input=["b"], output=["c"])
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(PassError, match=r"has a cycle: .*Relu"):
        load_proto(OnnxModel(folder))


def test_a_cycle_through_a_subgraph_is_refused(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    inner = helper.make_graph(
        [helper.make_node("Relu", ["out"], ["inner"])], "inner", [], [onnx.ValueInfoProto(name="inner")]
    )
    model.graph.node.append(helper.make_node("If", ["y"], ["out"], then_branch=inner, else_branch=inner))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(PassError, match="has a cycle"):
        load_proto(OnnxModel(folder))


def test_functions_that_call_each_other_are_refused(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    for name, other in (("A", "B"), ("B", "A")):
        body = [helper.make_node(other, ["x"], ["y"], domain="f")]
        model.functions.append(helper.make_function("f", name, ["x"], ["y"], body, opset))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(PassError, match="call each other in a cycle"):
        load_proto(OnnxModel(folder))


def value_of(path: Path, name: str) -> np.ndarray:
    loaded = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    return numpy_helper.to_array(loaded[name])


def test_weights_go_over_as_they_are_and_new_ones_behind_them(folder: Path, tmp_path: Path) -> None:
    source = OnnxModel(folder)
    model = load_ir(source)
    new = np.full((300, 7), 3.5, np.float32)
    model.graph.register_initializer(ir.Value(name="new", const_value=ir.tensor(new, name="new")))
    save_ir(model, tmp_path / "out" / "model.onnx")
    copy_side_files(source, tmp_path / "out")
    written = (tmp_path / "out" / "model.onnx.data").read_bytes()
    assert written.startswith((folder / "model.onnx.data").read_bytes())
    assert len(written) == 64 * 64 * 4 + 300 * 7 * 4
    np.testing.assert_array_equal(value_of(tmp_path / "out" / "model.onnx", "new"), new)
    np.testing.assert_array_equal(value_of(tmp_path / "out" / "model.onnx", "w"), value_of(folder / "model.onnx", "w"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.onnx", "model.onnx.data", "tokenizer.json"]


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({"save_as_external_data": False}, ["model.onnx"]),
        ({"save_as_external_data": True}, ["model.onnx", "model.onnx.data"]),
        ({"external_data_name": "weights.pb"}, ["model.onnx", "weights.pb"]),
        ({"all_tensors_to_one_file": False}, ["model.onnx", "model.onnx.00000.data"]),
        ({"save_as_external_data": True, "size_threshold": 1 << 20}, ["model.onnx"]),
    ],
)
def test_where_weights_go(folder: Path, tmp_path: Path, settings: dict[str, object], files: list[str]) -> None:
    save_ir(load_ir(OnnxModel(folder)), tmp_path / "out" / "model.onnx", OnnxFileConfig(**settings))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == files
    np.testing.assert_array_equal(value_of(tmp_path / "out" / "model.onnx", "w"), value_of(folder / "model.onnx", "w"))


def test_data_that_is_mostly_unused_is_not_dragged_along(folder: Path, tmp_path: Path) -> None:
    with open(folder / "model.onnx.data", "ab") as file:
        file.write(bytes(1 << 20))
    save_ir(load_ir(OnnxModel(folder)), tmp_path / "out" / "model.onnx")
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size == 64 * 64 * 4


def test_finish_describes_what_was_written(folder: Path, tmp_path: Path) -> None:
    source = OnnxModel(folder, attributes={"task": "x", "file": "model.onnx"})
    context = Context(output=tmp_path / "out", scratch=tmp_path / "scratch")
    save_ir(load_ir(source), context.output / "model.onnx")
    result = finish(context, source, {"more": 1})
    assert result.attributes["io"]["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", 64]}]
    assert (result.attributes["task"], result.attributes["more"]) == ("x", 1)
    assert describe_io(load_proto(result)) == result.attributes["io"]


def test_a_broken_result_is_not_finished(folder: Path, tmp_path: Path) -> None:
    source = OnnxModel(folder)
    model = load_ir(source)
    model.graph.node(0).op_type = "NoSuchOp"
    save_ir(model, tmp_path / "out" / "model.onnx")
    with pytest.raises(PassError, match="NoSuchOp"):
        finish(Context(output=tmp_path / "out", scratch=tmp_path), source)


def test_components(folder: Path) -> None:
    assert components(OnnxModel(folder)) == {"model": folder / "model.onnx"}
    listed = {"components": [{"name": "encoder", "file": "e.onnx"}, {"name": "decoder", "file": "d.onnx"}]}
    assert components(OnnxModel(folder, attributes=listed)) == {
        "encoder": folder / "e.onnx",
        "decoder": folder / "d.onnx",
    }
