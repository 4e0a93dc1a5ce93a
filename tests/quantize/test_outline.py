"""The shape of a decoder read from its files is the one that transformers' class has."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.heavy
pytest.importorskip("torch")

import transformers  # noqa: E402

from olive_like.passes.quantize._grid import Spec  # noqa: E402
from olive_like.passes.quantize._outline import LAYERS, outline  # noqa: E402
from olive_like.passes.quantize._skeleton import choose, linear_names, load_skeleton  # noqa: E402
from tests.tiny_models import tiny_bert, tiny_gpt2  # noqa: E402

_SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 40, "pad_token_id": 0,
}  # fmt: skip


def _saved(name, folder, tied):
    cls = getattr(transformers, name)
    cls(cls.config_class(**_SIZES, tie_word_embeddings=tied)).save_pretrained(folder)
    return folder


def _chosen(skeleton):
    return choose(skeleton, spec=lambda _, inputs: Spec(4, inputs, False), lm_head=True, embeds=True)


@pytest.mark.parametrize(("number", "name"), enumerate(sorted(LAYERS)))
def test_the_same_as_the_class(number, name, tmp_path):
    folder = _saved(name, tmp_path / "model", tied=bool(number % 2))
    short, whole = outline(folder), load_skeleton(folder)
    assert short is not None
    assert _chosen(short) == _chosen(whole)
    assert linear_names(short) == linear_names(whole)
    assert (short.head, short.embedding, short.tied) == (whole.head, whole.embedding, whole.tied)


def test_what_is_not_known_whole_is_left_to_transformers(tmp_path):
    assert outline(tiny_gpt2(tmp_path / "gpt2").path) is None
    assert outline(tiny_bert(tmp_path / "bert").path) is None
    folder = _saved("LlamaForCausalLM", tmp_path / "llama", tied=False)
    file = folder / "config.json"
    document = json.loads(file.read_text())
    for change in ({"quantization_config": {"bits": 4}}, {"num_hidden_layers": 3}, {"architectures": ["Other"]}):
        file.write_text(json.dumps(document | change))
        assert outline(folder) is None
    file.write_text(json.dumps(document))
    assert outline(folder) is not None
