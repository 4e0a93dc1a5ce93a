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
