"""Folders with several graphs: passes from ONNX to ONNX transform each of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import copy_side_files, finish, graph_file, load_ir, save_ir
from olive_like.passes._verify import verify_models
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass
from tests.convert.test_verify import toy

pytestmark = pytest.mark.heavy


class Mark(OnnxPass):
    """Write a mark into each graph."""

    Config = OnnxPassConfig

    def transform(self, model: OnnxModel, config: OnnxPassConfig, context: Context) -> OnnxModel:
        graph = load_ir(model)
        graph.metadata_props["mark"] = graph_file(model).name
        save_ir(graph, context.output / graph_file(model).name, config)
        copy_side_files(model, context.output)
        return finish(context, model, {"marked": True})


def pair(folder: Path) -> OnnxModel:
    root = toy(folder).path
    shutil.copyfile(root / "model.onnx", root / "encoder_model.onnx")
    (root / "model.onnx").rename(root / "decoder_model.onnx")
    (root / "tokenizer.json").write_text("{}")
    listed = [{"name": name, "file": f"{name}_model.onnx"} for name in ("encoder", "decoder")]
    model = OnnxModel(root, {"file": "decoder_model.onnx", "components": listed, "vocab_size": 16})
    return finish(Context(output=root, scratch=root), model)


def test_each_graph_is_transformed_and_the_rest_comes_along(tmp_path: Path) -> None:
    model = pair(tmp_path / "in")
    context = Context(output=tmp_path / "out", scratch=tmp_path / "scratch")
    context.output.mkdir()
    settings = OnnxPassConfig(save_as_external_data=True, external_data_name="weights", size_threshold=0)
    result = Mark().apply([model], settings, context)
    assert isinstance(result, OnnxModel)
    marks = {p.name: onnx.load(p).metadata_props[0].value for p in result.path.glob("*.onnx")}
    assert marks == {"encoder_model.onnx": "encoder_model.onnx", "decoder_model.onnx": "decoder_model.onnx"}
    sizes = {(result.path / f"{name}.weights").stat().st_size for name in ("encoder", "decoder")}
    assert sizes == {512}  # the table and the head, 256 bytes each
    others = {path.name for path in result.path.iterdir()} - set(marks)
    assert others == {"tokenizer.json", "encoder.weights", "decoder.weights"}
    assert set(result.attributes) == {"file", "components", "vocab_size", "io", "marked"}
    assert set(result.attributes["io"]) == {"encoder", "decoder"}
    json.dumps(dict(result.attributes))
    found = verify_models(model, result, "fail", 1e-6, context)
    assert found is not None
    assert found["runs"] == 4


def test_a_users_folder_gives_only_what_belongs_to_models(tmp_path: Path) -> None:
    model = toy(tmp_path / "in")
    for name in ("tokenizer.json", "private-notes.md", "holiday.jpg"):
        (model.path / name).write_text("x")
    copy_side_files(model, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tokenizer.json"]
