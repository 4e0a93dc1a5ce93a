"""What a base model may lack: a head, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from olive_like.errors import PassError
from tests.tiny_models import tiny_bert

pytestmark = pytest.mark.heavy


def test_a_head_may_be_made_anew_and_no_layer_of_a_block(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from olive_like.passes._models import load_model

    model = tiny_bert(tmp_path / "bert", labels=None)
    file = model.path / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(file).items() if "pooler" not in name}
    save_file(weights, file, metadata={"format": "pt"})
    load_model(model, "text-classification", new_head=True)
    lost = "encoder.layer.0.attention.output.dense.weight"
    save_file({n: t for n, t in weights.items() if not n.endswith(lost)}, file, metadata={"format": "pt"})
    with pytest.raises(PassError, match=rf"lacks weights that BertForSequenceClassification needs: bert\.{lost}$"):
        load_model(model, "text-classification", new_head=True)


def test_a_quantised_base_gets_the_head_that_is_asked_for(tmp_path: Path) -> None:
    import torch

    from olive_like.passes._models import load_model
    from tests.quantize.tools import run

    base, _ = run("Rtn", tiny_bert(tmp_path / "bert", labels=2), tmp_path / "small", group_size=32)
    tokens = torch.tensor([[2, 9, 8, 3]])
    own = load_model(base, "text-classification", "float32", attention="eager")
    assert (own(tokens).logits.shape[-1], own.config._attn_implementation) == (2, "eager")
    classes = {"id2label": dict(enumerate("abc")), "label2id": {name: i for i, name in enumerate("abc")}}
    more = {"num_labels": 3, **classes, "ignore_mismatched_sizes": True}
    other = load_model(base, "text-classification", "float32", new_head=True, **more)
    assert (other(tokens).logits.shape[-1], other.config.id2label[2]) == (3, "c")
    assert torch.allclose(own.bert(tokens)[0], other.bert(tokens)[0], atol=1e-5)
    bare, _ = run("Rtn", tiny_bert(tmp_path / "bare", labels=None), tmp_path / "less", group_size=32)
    made = load_model(bare, "token-classification", "float32", new_head=True, num_labels=3)
    assert made(tokens).logits.shape[1:] == (4, 3)
    with pytest.raises(PassError, match="lacks weights that BertForTokenClassification needs: classifier"):
        load_model(bare, "token-classification", num_labels=3)
