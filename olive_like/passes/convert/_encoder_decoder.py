"""Encoder-decoder models: two graphs in one folder.

The encoder also gives the keys and values that the decoder's cross-attention reads, so that they are computed once
and the decoder needs no second graph for its first step.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from olive_like.passes.convert._decoder import filled_cache
from olive_like.passes.convert._parts import Flat, Part, generator, some_tokens

Tensors = list[torch.Tensor]


class Encoder(Flat):
    """The encoder and, layer by layer, what the decoder's cross-attention makes of its output."""

    def __init__(self, inner: torch.nn.Module, names: list[str]) -> None:
        super().__init__(inner)
        self.names = names

    def forward(self, tensors: Tensors) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.names, tensors, strict=True))
        hidden = self.inner.get_encoder()(**named)[0]
        start = torch.zeros(hidden.shape[0], 1, dtype=torch.long, device=hidden.device)
        outputs = self.inner(
            attention_mask=named.get("attention_mask"),
            decoder_input_ids=start,
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
            use_cache=True,
        )
        # Of the step above only the cross-attention's cache is used: the exporter drops all else.
        cross = outputs.past_key_values.cross_attention_cache
        return (hidden, *(tensor for layer in cross.layers for tensor in (layer.keys, layer.values)))


class DecoderWithCross(Flat):
    """The decoder, which reads the encoder's output only through the keys and values made of it."""

    def __init__(self, inner: torch.nn.Module, layers: int, masked: bool, width: int) -> None:
        super().__init__(inner)
        self.layers, self.masked, self.width = layers, masked, width

    def forward(self, tensors: Tensors) -> tuple[torch.Tensor, ...]:
        tokens, *rest = tensors
        mask = rest.pop(0) if self.masked else None
        own, cross = rest[: 2 * self.layers], rest[2 * self.layers :]
        cache = EncoderDecoderCache(filled_cache(own), filled_cache(cross))
        cache.is_updated = dict.fromkeys(range(self.layers), True)
        # Never read, but its length is asked for.
        hidden = cross[0].new_zeros(tokens.shape[0], cross[0].shape[2], self.width)
        outputs = self.inner(
            attention_mask=mask,
            decoder_input_ids=tokens,
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            past_key_values=cache,
            use_cache=True,
        )
        made = outputs.past_key_values.self_attention_cache
        return (outputs.logits, *(tensor for layer in made.layers for tensor in (layer.keys, layer.values)))


def encoder_decoder_parts(model: Any, dtype: torch.dtype, prefix: str, sequence: int | None) -> list[Part]:
    """The encoder's graph and the decoder's."""
    config = model.config.get_text_config(decoder=True)
    audio = "input_features" in inspect.signature(model.forward).parameters
    names = ["input_features"] if audio else ["input_ids", "attention_mask"]
    encoder = Encoder(model, names).eval()
    vocabulary = int(model.config.vocab_size)

    def source(batch: int, length: int) -> dict[str, torch.Tensor]:
        if audio:
            frames = 2 * int(model.config.max_source_positions)
            sound = torch.randn(batch, model.config.num_mel_bins, frames, generator=generator(batch))
            return {"input_features": sound.to(model.device, dtype)}
        tokens = some_tokens(batch, length, vocabulary).to(model.device)
        mask = torch.ones_like(tokens)
        if batch > 1:
            mask[0, -1] = 0
        return {"input_ids": tokens, "attention_mask": mask}

    with torch.no_grad():
        _, *cross = encoder(list(source(2, 6).values()))
    layers = len(cross) // 2
    decoder = DecoderWithCross(model, layers, not audio, int(config.hidden_size)).eval()
    own_names = [f"{prefix}.{i}.decoder.{kind}" for i in range(layers) for kind in ("key", "value")]
    cross_names = [f"{prefix}.{i}.encoder.{kind}" for i in range(layers) for kind in ("key", "value")]

    @torch.no_grad()
    def step(batch: int, length: int, past: int) -> dict[str, torch.Tensor]:
        given = source(batch, sequence or 6)
        _, *made = encoder(list(given.values()))
        tokens = some_tokens(batch, length + past, vocabulary).to(model.device)
        mask = [] if audio else [given["attention_mask"]]
        own = [tensor.new_zeros(batch, tensor.shape[1], 0, tensor.shape[3]) for tensor in made]
        if past:
            _, *own = decoder([tokens[:, :past], *mask, *own, *made])
        feeds = {"input_ids": tokens[:, past:]} | ({} if audio else {"encoder_attention_mask": mask[0]})
        return feeds | dict(zip(own_names, own, strict=True)) | dict(zip(cross_names, made, strict=True))

    limit = int(getattr(config, "max_target_positions", 0) or getattr(config, "max_position_embeddings", 0) or 2048)
    fixed = sequence is not None
    cases = [(b, s, p) for b, s, p in ((1, 4, 0), (3, 2, 1), (3, 1, 100)) if p + s <= limit]
    return [
        Part(
            name="encoder",
            file="encoder_model.onnx",
            module=encoder,
            example=source(1, sequence) if sequence else source(2, 6),
            outputs=["last_hidden_state", *(name.replace(prefix, "present", 1) for name in cross_names)],
            axes={} if fixed else _encoder_axes(names, cross_names, prefix, audio),
            samples=lambda: [source(1, sequence)] if sequence else [source(1, 5), source(3, 9)],
        ),
        Part(
            name="decoder",
            file="decoder_model.onnx",
            module=decoder,
            example=step(1, 1, 1) if fixed else step(2, 3, 4),
            outputs=["logits", *(name.replace(prefix, "present", 1) for name in own_names)],
            axes={} if fixed else _decoder_axes(own_names, cross_names, prefix, audio),
            samples=lambda: [step(1, 1, 1)] if fixed else [step(*case) for case in cases],
            attributes={
                "vocab_size": vocabulary,
                "kv_cache": {
                    "layers": layers,
                    "heads": cross[0].shape[1],
                    "head_size": cross[0].shape[3],
                    "dtype": str(dtype).removeprefix("torch."),
                    "past": prefix,
                    "present": "present",
                },
            },
        ),
    ]


_SOURCE = "encoder_sequence_length"


def _encoder_axes(names: list[str], cross: list[str], prefix: str, audio: bool) -> dict[str, dict[int, str]]:
    # An audio model's input has one length only.
    length = {} if audio else {1: _SOURCE}
    axes = {name: {0: "batch_size", **length} for name in names}
    axes["last_hidden_state"] = {0: "batch_size", **length}
    for name in cross:
        axes[name.replace(prefix, "present", 1)] = {0: "batch_size"} | ({} if audio else {2: _SOURCE})
    return axes


def _decoder_axes(own: list[str], cross: list[str], prefix: str, audio: bool) -> dict[str, dict[int, str]]:
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "logits")}
    if not audio:
        axes["encoder_attention_mask"] = {0: "batch_size", 1: _SOURCE}
    for name in own:
        axes[name] = {0: "batch_size", 2: "past_sequence_length"}
        axes[name.replace(prefix, "present", 1)] = {0: "batch_size", 2: "total_sequence_length"}
    for name in cross:
        axes[name] = {0: "batch_size"} | ({} if audio else {2: _SOURCE})
    return axes
