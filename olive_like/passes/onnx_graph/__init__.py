"""Passes that change an ONNX graph."""

_HERE = "olive_like.passes.onnx_graph"

PASSES: dict[str, str] = {
    "OrtTransformersOptimization": f"{_HERE}.transformers_fusion:OrtTransformersOptimization",
    "OnnxPeepholeOptimizer": f"{_HERE}.peephole:OnnxPeepholeOptimizer",
    "OnnxScriptFusion": f"{_HERE}.script_fusion:OnnxScriptFusion",
    "OnnxFloatToFloat16": f"{_HERE}.float16:OnnxFloatToFloat16",
    "OrtMixedPrecision": f"{_HERE}.mixed_precision:OrtMixedPrecision",
    "OnnxIODataTypeConverter": f"{_HERE}.io_types:OnnxIODataTypeConverter",
    "InputNCHWtoNHWC": f"{_HERE}.channels_last:InputNCHWtoNHWC",
    "DynamicToFixedShape": f"{_HERE}.fixed_shape:DynamicToFixedShape",
    "OnnxOpVersionConversion": f"{_HERE}.opset:OnnxOpVersionConversion",
    "AddOliveMetadata": f"{_HERE}.metadata:AddOliveMetadata",
    "GraphSurgeries": f"{_HERE}.surgeries:GraphSurgeries",
    "ComposeOnnxModels": f"{_HERE}.compose:ComposeOnnxModels",
    "SplitModel": f"{_HERE}.split:SplitModel",
    "StaticLLM": f"{_HERE}.static_llm:StaticLLM",
    "OrtSessionParamsTuning": f"{_HERE}.session_tuning:OrtSessionParamsTuning",
    "OnnxDiscrepancyCheck": f"{_HERE}.discrepancy:OnnxDiscrepancyCheck",
    "ExtractAdapters": f"{_HERE}.extract_adapters:ExtractAdapters",
    "MixedPrecisionOverrides": f"{_HERE}.precision_overrides:MixedPrecisionOverrides",
}

ALIASES: dict[str, str] = {
    "OnnxTransformersOptimization": "OrtTransformersOptimization",
    "OrtPerfTuning": "OrtSessionParamsTuning",
    "OnnxModelOptimizer": "OnnxPeepholeOptimizer",
}
