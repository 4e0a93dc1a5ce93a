"""Passes: make Hugging Face models smaller before they are exported."""

PASSES: dict[str, str] = {
    "AutoAWQQuantizer": "olive_like.passes.quantize.awq:AutoAWQQuantizer",
    "AutoClip": "olive_like.passes.quantize.autoclip:AutoClip",
    "BnbQuantization": "olive_like.passes.quantize.bnb:BnbQuantization",
    "Fp8Quantization": "olive_like.passes.quantize.fp8:Fp8Quantization",
    "Gptq": "olive_like.passes.quantize.gptq:Gptq",
    "GptqModel": "olive_like.passes.quantize.gptq:GptqModel",
    "GptqQuantizer": "olive_like.passes.quantize.gptq:GptqQuantizer",
    "Hqq": "olive_like.passes.quantize.rtn:Hqq",
    "KQuant": "olive_like.passes.quantize.rtn:KQuant",
    "LearnedRounding": "olive_like.passes.quantize.learned:LearnedRounding",
    "QuaRot": "olive_like.passes.quantize.rotate:QuaRot",
    "Rtn": "olive_like.passes.quantize.rtn:Rtn",
    "SelectiveMixedPrecision": "olive_like.passes.quantize.mixed:SelectiveMixedPrecision",
    "SliceGPT": "olive_like.passes.quantize.prune:SliceGPT",
    "SmoothQuant": "olive_like.passes.quantize.smoothquant:SmoothQuant",
    "SparseGPT": "olive_like.passes.quantize.prune:SparseGPT",
    "SpinQuant": "olive_like.passes.quantize.rotate:SpinQuant",
}

ALIASES: dict[str, str] = {
    "Awq": "AutoAWQQuantizer",
    "AwqQuantizer": "AutoAWQQuantizer",
    "AutoRound": "LearnedRounding",
    "BitsAndBytes": "BnbQuantization",
    "Fp8": "Fp8Quantization",
    "HqqQuantizer": "Hqq",
    "K_Quant": "KQuant",
    "RoundToNearest": "Rtn",
    "SignRound": "LearnedRounding",
}
