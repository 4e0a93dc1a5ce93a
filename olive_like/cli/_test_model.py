"""Build the tiny model of `--test`: the same architecture with two layers, and a tokenizer."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

from olive_like.errors import WorkflowError
from olive_like.passes._models import quiet
from olive_like.passes.tasks import AUTO_CLASSES, normal, task_of

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers",
           "num_decoder_layers")  # fmt: skip
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
          "decoder_attention_heads")  # fmt: skip
_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim", "embedding_size")
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim",
          "moe_intermediate_size", "shared_expert_intermediate_size")  # fmt: skip
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges.txt",
              "spiece.model", "sentencepiece*")  # fmt: skip
_TEXT = ["The quick brown fox jumps over the lazy dog.", "0 1 2 3 4 5 6 7 8 9 + - = ( ) { } [ ] : ; , . ! ?"]
_CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make(config: dict[str, Any], source: Path | None, task: str | None, target: Path) -> None:
    """Write the model beside its place and move it there, so that nobody finds half of it."""
    quiet()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".draft-"))
    try:
        copied = _copy_tokenizer(source, draft) if source else False
        tokens = {} if copied else _make_tokenizer(draft)
        _make_model(config, tokens, task, draft)
        try:
            os.rename(draft, target)
        except OSError:
            if not (target / "config.json").is_file():  # otherwise another process was quicker
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make_model(config: dict[str, Any], tokens: dict[str, Any], task: str | None, folder: Path) -> None:
    kind = str(config["model_type"])
    given = {
        key: value for key, value in config.items() if key not in ("model_type", "quantization_config", "auto_map")
    }
    try:
        small = AutoConfig.for_model(kind, **_shrunk(AutoConfig.for_model(kind, **given).to_dict()) | tokens)
    except (ValueError, KeyError, TypeError) as error:
        line = str(error).strip().splitlines()[0]
        raise WorkflowError(f"no tiny {kind} can be made: {line}", "--test knows transformers' own models.") from error
    wanted = normal(task) if task else task_of({**config, **({} if "architectures" in config else _guess(kind))})
    cls = getattr(transformers, AUTO_CLASSES[wanted])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            model = cls.from_config(small)
        except (ValueError, RuntimeError, TypeError) as error:
            line = str(error).strip().splitlines()[0]
            raise WorkflowError(f"no tiny {kind} can be made for {wanted}: {line}") from error
    model.float().save_pretrained(folder)


def _guess(kind: str) -> dict[str, Any]:
    """What a model of a kind is usually for, where only its name is known."""
    if kind == "t5":
        return {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    encoder = kind in ("bert", "distilbert", "roberta")
    return {"architectures": ["XForSequenceClassification" if encoder else "XForCausalLM"]}


def _shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """The config with two narrow layers; heads keep their grouping, embeddings their tokens."""
    heads = next((config[name] for name in _HEADS if isinstance(config.get(name), int)), 4)
    groups = config.get("num_key_value_heads")
    made = dict(config)
    for names, value in ((_LAYERS, 2), (_HEADS, 4), (_WIDTHS, 64), (_INNER, 128)):
        made.update({name: value for name in names if isinstance(config.get(name), int)})
    if isinstance(groups, int):
        made["num_key_value_heads"] = 4 if groups == heads else 1 if groups == 1 else 2
    made.update({name: 16 for name in ("head_dim", "d_kv") if isinstance(config.get(name), int)})
    made.update({name: 4 for name in ("num_local_experts", "num_experts") if isinstance(config.get(name), int)})
    if isinstance(config.get("layer_types"), list):
        made["layer_types"] = config["layer_types"][:1] + config["layer_types"][-1:]
    for name in ("architectures", "torch_dtype", "dtype", "_name_or_path", "transformers_version", "model_type"):
        made.pop(name, None)
    return made


def _copy_tokenizer(source: Path, target: Path) -> bool:
    files = {path for pattern in _TOKENIZER for path in source.glob(pattern) if path.is_file()}
    for path in files:
        shutil.copyfile(path, target / path.name)
    return bool(files)


def _make_tokenizer(target: Path) -> dict[str, Any]:
    """A tokenizer of bytes, which knows every text, and the tokens that the model's config has to name."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=_CHAT, model_max_length=512,
        pad_token="<pad>", bos_token="<s>", eos_token="</s>",
    )  # fmt: skip
    fast.save_pretrained(target)
    return {
        "vocab_size": len(fast),
        "pad_token_id": fast.pad_token_id,
        "bos_token_id": fast.bos_token_id,
        "eos_token_id": fast.eos_token_id,
    }
