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
from transformers.models.auto import modeling_auto as auto

from olive_like.cli._tiny_config import shrunk
from olive_like.errors import WorkflowError
from olive_like.passes._models import quiet
from olive_like.passes.tasks import AUTO_CLASSES, normal, task_of

_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges.txt",
              "spiece.model", "sentencepiece*", "*processor_config.json")  # fmt: skip
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
        _make_processor(config, draft)
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
        whole = AutoConfig.for_model(kind, **given).to_dict()
        small = AutoConfig.for_model(kind, **shrunk(whole, tokens))
    except (ValueError, KeyError, TypeError) as error:
        line = str(error).strip().splitlines()[0]
        raise WorkflowError(f"no tiny {kind} can be made: {line}", "--test knows transformers' own models.") from error
    usual = task_of(config if "architectures" in config else {**config, **_guess(kind)})
    # What writes text is that whatever a workflow calls it: heads for other tasks are put on by training.
    wanted = normal(task) if task and usual != "text-generation" else usual
    cls = getattr(transformers, AUTO_CLASSES[wanted])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            model = cls.from_config(small)
        except (ValueError, RuntimeError, TypeError) as error:
            line = str(error).strip().splitlines()[0]
            raise WorkflowError(f"no tiny {kind} can be made for {wanted}: {line}") from error
        _unlike(model)
    model.float().save_pretrained(folder)


def _make_processor(config: dict[str, Any], folder: Path) -> None:
    """How sound becomes features, where the kind of the model says it."""
    if config["model_type"] == "whisper" and not (folder / "preprocessor_config.json").exists():
        small = AutoConfig.from_pretrained(folder)
        transformers.WhisperFeatureExtractor(feature_size=small.num_mel_bins).save_pretrained(folder)


def _unlike(model: torch.nn.Module) -> None:
    """No bias is zero and no two norms are equal, as after training: tools leave out or merge what is."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)


_USUAL = {
    "whisper": ("WhisperForSpeechSeq2Seq", True),
    "clip": ("CLIPModel", False),
}


def _guess(kind: str) -> dict[str, Any]:
    """What a model of a kind is usually for, where only its name is known."""
    if kind in _USUAL:
        architecture, pair = _USUAL[kind]
        return {"architectures": [architecture], "is_encoder_decoder": pair}
    if kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return {"architectures": ["XForConditionalGeneration"], "is_encoder_decoder": True}
    if kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return {"architectures": ["XForConditionalGeneration"]}
    for architecture, known in (
        ("XForSequenceClassification", auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),  # encoders
        ("XForCausalLM", auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("XForImageClassification", auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    ):
        if kind in known:
            return {"architectures": [architecture]}
    return {}


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
        "vocab_size": -(-len(fast) // 64) * 64,  # as in published models, for quantisers
        "pad_token_id": fast.pad_token_id,
        "bos_token_id": fast.bos_token_id,
        "eos_token_id": fast.eos_token_id,
    }
