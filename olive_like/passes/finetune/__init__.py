"""Passes that train."""

_ADAPTERS = ("LoRA", "QLoRA", "DoRA", "LoHa", "LoKr", "PiSSA", "RsLoRA", "IA3", "Adapter", "DPO", "LoftQ")

PASSES: dict[str, str] = {
    **{name: f"olive_like.passes.finetune.adapters:{name}" for name in _ADAPTERS},
    "FullFinetune": "olive_like.passes.finetune.full:FullFinetune",
    "MergeAdapterWeights": "olive_like.passes.finetune.merge:MergeAdapterWeights",
}
