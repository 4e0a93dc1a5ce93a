"""Tiny models with random weights and tokenizers trained on the fly, for tests of every room.

Each `tiny_*(path)` writes a complete Hugging Face folder (config, safetensors, tokenizer) and returns it as an
artifact with its digest. The same arguments give the same bytes. Widths are multiples of 64.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from olive_like.artifacts import FileEntry, HfModel, artifact_digest

CORPUS = [
    "The quick brown fox jumps over the lazy dog while seven small ships sail to the far island.",
    "What is machine learning? It is a way to let computers find rules in examples on their own.",
    "User: how much is two plus three?\nAssistant: two plus three is five.",
    "A great film, a clever film, a moving film! A bad film, a dull film, a boring film.",
    "Anna works for the Red Cross in Geneva; Paul flew from Berlin to New York in March 2021.",
    '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}',
    "0 1 2 3 4 5 6 7 8 9 10 11 12 100 1000, a b c d e f g h i j k l m n o p q r s t u v w x y z",
]

CHATML = (
    "{% if tools %}{{ '<|im_start|>system\nTools: ' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] %}{{ message['content'] }}{% endif %}"
    "{% if message['tool_calls'] %}{% for call in message['tool_calls'] %}"
    "{{ '<tool_call>' + (call.function | tojson) + '</tool_call>' }}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer(path: Path, *, chat: bool = True, pad: bool = True, bos: bool = False) -> Any:
    """A byte-level BPE tokenizer; `bos` makes it put a begin marker before every text, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=448,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    names = {"bos_token": "<s>", "eos_token": "<|im_end|>" if chat else "</s>"} | (
        {"pad_token": "<pad>"} if pad else {}
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=CHATML if chat else None, model_max_length=512, **names
    )
    fast.save_pretrained(path)
    return fast


def tiny_wordpiece(path: Path) -> Any:
    """A lower-casing WordPiece tokenizer with [CLS] and [SEP], as BERT's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for line in CORPUS for word in re.findall(r"\w+|[^\w\s]", line.lower())})
    letters = sorted(set("".join(words)))
    # Not trained: the trainer of WordPiece is not deterministic.
    pieces = dict.fromkeys([*specials, *letters, *(f"##{letter}" for letter in letters), *words])
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    marks = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.save_pretrained(path)
    return fast


def tiny_llama(path: Path, *, seed: int = 0, chat: bool = True, bos: bool = False, **settings: Any) -> HfModel:
    """Llama: grouped-query attention, SwiGLU, tied embeddings on request."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(path, chat=chat, bos=bos)
    config = LlamaConfig(**(_decoder(tokenizer) | settings))
    return _save(LlamaForCausalLM, config, path, "text-generation", seed)


def tiny_qwen2(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Qwen2: as Llama, with biases in the attention's projections."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(**(_decoder(tiny_tokenizer(path)) | settings))
    return _save(Qwen2ForCausalLM, config, path, "text-generation", seed)


def tiny_phi3(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Phi-3: fused qkv and gate/up projections."""
    from transformers import Phi3Config, Phi3ForCausalLM

    sizes = _decoder(tiny_tokenizer(path)) | {"original_max_position_embeddings": 256} | settings
    return _save(Phi3ForCausalLM, Phi3Config(**sizes), path, "text-generation", seed)


def tiny_gpt2(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """GPT-2: learned positions and transposed (Conv1D) weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_tokenizer(path, chat=False)
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256} | _tokens(tokenizer) | settings
    return _save(GPT2LMHeadModel, GPT2Config(**sizes), path, "text-generation", seed)


def tiny_bert(path: Path, *, seed: int = 0, labels: int | None = 2, **settings: Any) -> HfModel:
    """BERT: a sequence classifier, or without labels the bare encoder."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    sizes = _bert_sizes(tiny_wordpiece(path)) | ({"num_labels": labels} if labels else {}) | settings
    cls = BertForSequenceClassification if labels else BertModel
    return _save(cls, BertConfig(**sizes), path, "text-classification" if labels else "feature-extraction", seed)


def tiny_bert_ner(path: Path, *, seed: int = 0, labels: int = 5, **settings: Any) -> HfModel:
    """BERT: a token classifier."""
    from transformers import BertConfig, BertForTokenClassification

    sizes = _bert_sizes(tiny_wordpiece(path)) | {"num_labels": labels} | settings
    return _save(BertForTokenClassification, BertConfig(**sizes), path, "token-classification", seed)


def tiny_qwen3(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Qwen3: queries and keys are normed, heads have a width of their own."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(**(_decoder(tiny_tokenizer(path)) | {"head_dim": 32} | settings))
    return _save(Qwen3ForCausalLM, config, path, "text-generation", seed)


def tiny_mistral(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Mistral: every layer sees a window of the last 32 tokens only."""
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(**(_decoder(tiny_tokenizer(path)) | {"sliding_window": 32} | settings))
    return _save(MistralForCausalLM, config, path, "text-generation", seed)


def tiny_gemma2(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Gemma 2: windows of 32 tokens in every other layer, capped logits."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(**(_decoder(tiny_tokenizer(path)) | {"head_dim": 16, "sliding_window": 32} | settings))
    return _save(Gemma2ForCausalLM, config, path, "text-generation", seed)


def tiny_gemma3(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Gemma 3: windows of 32 tokens in all layers but every second, two rotary bases."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    layers = {"layer_types": ["sliding_attention", "full_attention"]}
    sizes = _decoder(tiny_tokenizer(path)) | {"head_dim": 16, "sliding_window": 32} | layers
    return _save(Gemma3ForCausalLM, Gemma3TextConfig(**(sizes | settings)), path, "text-generation", seed)


def tiny_opt(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """OPT: learned positions with an offset, ReLU."""
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"max_position_embeddings": 256, "word_embed_proj_dim": 64}
    config = OPTConfig(**(sizes | _tokens(tiny_tokenizer(path, chat=False)) | settings))
    return _save(OPTForCausalLM, config, path, "text-generation", seed)


def tiny_distilbert(path: Path, *, seed: int = 0, labels: int = 2, **settings: Any) -> HfModel:
    """DistilBERT: a sequence classifier without token types."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    tokenizer = tiny_wordpiece(path)
    sizes = {"vocab_size": len(tokenizer), "dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4}
    config = DistilBertConfig(**(sizes | {"max_position_embeddings": 128, "num_labels": labels} | settings))
    return _save(DistilBertForSequenceClassification, config, path, "text-classification", seed)


def tiny_roberta(path: Path, *, seed: int = 0, labels: int = 2, **settings: Any) -> HfModel:
    """RoBERTa: positions counted from the padding token's id."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    sizes = _bert_sizes(tiny_wordpiece(path)) | {"num_labels": labels, "type_vocab_size": 1}
    return _save(
        RobertaForSequenceClassification, RobertaConfig(**(sizes | settings)), path, "text-classification", seed
    )


def tiny_whisper(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """Whisper: sound in, text out; 100 frames of 16 bins."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    tokenizer = tiny_tokenizer(path, chat=False)
    sizes = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_mel_bins": 16}
    sizes |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    sizes |= {"max_source_positions": 50, "max_target_positions": 128, "decoder_start_token_id": 1}
    config = WhisperConfig(**(sizes | _tokens(tokenizer) | settings))
    return _save(WhisperForConditionalGeneration, config, path, "automatic-speech-recognition", seed)


def tiny_t5(path: Path, *, seed: int = 0, **settings: Any) -> HfModel:
    """T5: encoder and decoder."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = tiny_tokenizer(path, chat=False)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    return _save(
        T5ForConditionalGeneration,
        T5Config(**(sizes | _tokens(tokenizer) | settings)),
        path,
        "text2text-generation",
        seed,
    )


def tiny_vit(path: Path, *, seed: int = 0, labels: int = 3, **settings: Any) -> HfModel:
    """ViT: an image classifier of 32 x 32 pixels."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = ViTConfig(**(sizes | {"image_size": 32, "patch_size": 8, "num_labels": labels} | settings))
    return _save(ViTForImageClassification, config, path, "image-classification", seed)


def as_artifact(path: Path, task: str | None = None) -> HfModel:
    """A folder on disk as the artifact that the engine would make of it."""
    from blake3 import blake3

    files = [
        FileEntry(file.relative_to(path).as_posix(), file.stat().st_size, blake3(file.read_bytes()).hexdigest())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    attributes = {"task": task} if task else {}
    return HfModel(path, attributes, digest=artifact_digest("hf_model", attributes, {}, files))


def _tokens(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _decoder(tokenizer: Any) -> dict[str, Any]:
    return {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    } | _tokens(tokenizer)


def _bert_sizes(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _save(cls: Any, config: Any, path: Path, task: str, seed: int) -> HfModel:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = cls(config)
    model.save_pretrained(path)
    return as_artifact(path, task)
