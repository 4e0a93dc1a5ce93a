"""Tasks: what a model is for, by the user's word or by what its config says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.errors import PassError

# The names that people use -> one name.
TASKS: dict[str, str] = {
    "text-generation": "text-generation",
    "text-generation-with-past": "text-generation",
    "causal-lm": "text-generation",
    "generation": "text-generation",
    "text-classification": "text-classification",
    "sequence-classification": "text-classification",
    "classification": "text-classification",
    "sentiment-analysis": "text-classification",
    "token-classification": "token-classification",
    "ner": "token-classification",
    "token-extraction": "token-classification",
    "text2text-generation": "text2text-generation",
    "text2text-generation-with-past": "text2text-generation",
    "seq2seq": "text2text-generation",
    "summarization": "text2text-generation",
    "translation": "text2text-generation",
    "question-answering": "question-answering",
    "qa": "question-answering",
    "feature-extraction": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "fill-mask": "fill-mask",
    "image-classification": "image-classification",
    "automatic-speech-recognition": "automatic-speech-recognition",
    "image-text-to-text": "image-text-to-text",
    "zero-shot-image-classification": "zero-shot-image-classification",
}

# The class of transformers that loads a model for a task.
AUTO_CLASSES: dict[str, str] = {
    "text-generation": "AutoModelForCausalLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "question-answering": "AutoModelForQuestionAnswering",
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "image-classification": "AutoModelForImageClassification",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
    "image-text-to-text": "AutoModelForImageTextToText",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
}

# Models that hear, whose classes are called as those that read are.
_HEARING = ("moonshine", "moonshine_streaming", "speech_to_text", "whisper")

_BY_ARCHITECTURE: tuple[tuple[str, str], ...] = (
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForImageClassification", "image-classification"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition"),
)


def normal(task: str) -> str:
    """The one name of a task."""
    try:
        return TASKS[task.lower().replace("_", "-")]
    except KeyError:
        raise PassError(
            f"the task {task!r} is not known", f"Known: {', '.join(sorted(set(TASKS.values())))}."
        ) from None


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's config.json."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise PassError(f"{folder} is no Hugging Face model: it has no config.json") from None
    except ValueError as error:
        raise PassError(f"{file} is not JSON: {error}", "Fetch the model again.") from None
    if not isinstance(config, dict):
        raise PassError(f"{file} is not a mapping", "Fetch the model again.")
    return config


def task_of(config: dict[str, Any]) -> str:
    """The task that a config's architecture is for."""
    for architecture in config.get("architectures") or []:
        for ending, task in _BY_ARCHITECTURE:
            if str(architecture).endswith(ending):
                return task
        if str(architecture).endswith("ForConditionalGeneration"):
            if config.get("model_type") in _HEARING:
                return "automatic-speech-recognition"
            return "text2text-generation" if config.get("is_encoder_decoder") else "image-text-to-text"
    return "feature-extraction"
