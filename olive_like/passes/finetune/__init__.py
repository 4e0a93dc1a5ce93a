"""Passes that train."""

_ADAPTERS = ("LoRA", "QLoRA", "DoRA", "LoHa", "LoKr", "PiSSA", "RsLoRA", "IA3")

PASSES: dict[str, str] = {
    **{name: f"olive_like.passes.finetune.adapters:{name}" for name in _ADAPTERS},
    "MergeAdapterWeights": "olive_like.passes.finetune.merge:MergeAdapterWeights",
}
