"""A model's config made small: two narrow layers of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH, _HEADS, _HEAD = 128, 4, 32  # quantisers' groups of 128 fit
# What a number means -> the names that architectures have for it.
_NAMES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers",
         "num_decoder_layers", "depth")),
    (_HEADS, ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
              "decoder_attention_heads", "linear_num_value_heads")),
    (_HEADS // 2, ("linear_num_key_heads",)),
    (_WIDTH, ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim", "embedding_size", "embed_dim",
              "out_hidden_size", "projection_dim")),
    (2 * _WIDTH, ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim", "d_ff", "encoder_ffn_dim", "ffn_hidden_size",
                  "decoder_ffn_dim", "moe_intermediate_size", "shared_expert_intermediate_size")),
    (_HEAD, ("head_dim", "d_kv", "linear_key_head_dim", "linear_value_head_dim")),
    (4, ("num_local_experts", "num_experts")),
    (2, ("num_experts_per_tok", "moe_topk")),
)  # fmt: skip
_LISTS: dict[str, list[int]] = {
    "hidden_sizes": [16, 32, 64, 128],
    "depths": [1, 1, 1, 1],
    "deepstack_visual_indexes": [0, 1],
    "fullatt_block_indexes": [1],
}
_NOT_COPIED = ("architectures", "torch_dtype", "dtype", "_name_or_path", "transformers_version", "model_type")
_OF_VOCABULARY = ("suppress_tokens", "begin_suppress_tokens", "forced_decoder_ids")
# Text in models of pictures, whose published configs name axes that transformers' defaults leave open.
_BY_AXIS = ("qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text",
            "qwen3_5_moe_text")  # fmt: skip
_TOKEN_IDS = ("_token_id", "_token_index")


def shrunk(config: Mapping[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """The config with small numbers; heads keep their grouping, parts of a model are made small each."""
    made = {name: _part(value, tokens) if name.endswith("_config") else value for name, value in config.items()}
    for number, names in _NAMES:
        made.update({name: number for name in names if isinstance(config.get(name), int)})
    if "head_dim" in config:
        made["head_dim"] = _HEAD  # where it is left open too: some architectures then know no number
    for name, numbers in _LISTS.items():
        if isinstance(config.get(name), list):
            made[name] = numbers[: len(config[name])]
    groups = config.get("num_key_value_heads")
    if "num_key_value_heads" in config and groups is None:
        made["num_key_value_heads"] = _HEADS
    elif isinstance(groups, int):
        heads = config.get("num_attention_heads", groups)
        made["num_key_value_heads"] = _HEADS if groups == heads else 1 if groups == 1 else _HEADS // 2
    if isinstance(config.get("layer_types"), list):
        made["layer_types"] = config["layer_types"][:1] + config["layer_types"][-1:]
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(made.get(name), dict):
            made[name] = _rope(made[name], str(config.get("model_type")))
    for name in _NOT_COPIED:
        made.pop(name, None)
    return made | _token_ids(made, tokens)


def _part(config: Any, tokens: Mapping[str, int]) -> Any:
    if not isinstance(config, Mapping):
        return config
    kind = {"model_type": config["model_type"]} if "model_type" in config else {}
    return shrunk(config, tokens if "vocab_size" in config else {}) | kind


def _rope(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Rotary settings for the narrower heads: how many pairs of numbers turn with time, height and width."""
    if kind not in _BY_AXIS and "mrope_section" not in settings:
        return dict(settings)
    pairs = int(_HEAD * float(settings.get("partial_rotary_factor", 1.0))) // 2
    side = pairs // 4
    return {**settings, "mrope_section": [pairs - 2 * side, side, side]}


def _token_ids(config: Mapping[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """The tokenizer's numbers, and no token beyond its vocabulary."""
    if not tokens:
        return {}
    last = tokens["vocab_size"] - 1
    others = {
        name: last
        for name, value in config.items()
        if name.endswith(_TOKEN_IDS) and isinstance(value, int) and value > last
    }
    starts = {"decoder_start_token_id": tokens["bos_token_id"]} if config.get("decoder_start_token_id") else {}
    lists = {name: None for name in _OF_VOCABULARY if name in config}
    return {**others, **starts, **lists, **{name: value for name, value in tokens.items() if name in config}}
