"""Names of passes that other files use and that are not here, with what comes near."""

from __future__ import annotations

from olive_like.passes import registry

# name -> passes that do something near; those that are not here either are left out of the hint
NEAR: dict[str, tuple[str, ...]] = {
    "AitkPython": (),
    "AimetQuantization": ("OnnxStaticQuantization",),
    "AppendPrePostProcessingOps": (),
    "CaptureLayerAnnotations": (),
    "ConvertHfToGGUF": (),
    "EPContextBinaryGenerator": (),
    "IncDynamicQuantization": ("OnnxDynamicQuantization",),
    "IncQuantization": ("OnnxStaticQuantization", "OnnxDynamicQuantization"),
    "IncStaticQuantization": ("OnnxStaticQuantization",),
    "InsertBeamSearch": ("ModelBuilder",),
    "MobiusBuilder": ("ModelBuilder",),
    "MoEExpertsDistributor": (),
    "NVModelOptGraphSurgery": ("GraphSurgeries",),
    "NVModelOptQuantization": ("OnnxBlockWiseRtnQuantization", "AutoAWQQuantizer"),
    "OnnxMatMul4Quantizer": ("OnnxBlockWiseRtnQuantization", "OnnxHqqQuantization"),
    "OnnxMatMulNBitsQuantizer": ("OnnxBlockWiseRtnQuantization", "OnnxHqqQuantization"),
    "OnnxModelOptimizer": ("OnnxPeepholeOptimizer",),
    "OpenVINOConversion": ("OnnxConversion",),
    "OpenVINOEncapsulation": (),
    "OpenVINOIoUpdate": ("DynamicToFixedShape",),
    "OpenVINOOptimumConversion": ("ModelBuilder", "OnnxConversion"),
    "OpenVINOQuantization": ("OnnxStaticQuantization",),
    "OpenVINOQuantizationWithAccuracy": ("OnnxStaticQuantization",),
    "OpenVINOReconstruction": (),
    "OpenVINOWeightCompression": ("OnnxBlockWiseRtnQuantization", "Rtn"),
    "OptimumConversion": ("OnnxConversion",),
    "OptimumMerging": (),
    "OrtMixedPrecision": ("OnnxFloatToFloat16",),
    "OrtPerfTuning": ("OrtSessionParamsTuning",),
    "QNNContextBinaryGenerator": (),
    "QNNConversion": ("OnnxConversion",),
    "QNNModelLibGenerator": (),
    "QairtEncapsulation": (),
    "QairtGenAIBuilder": ("ModelBuilder",),
    "QairtMHA2SHA": (),
    "QairtPipelinePass": (),
    "QairtPreparation": (),
    "QuantizationAwareTraining": ("Gptq", "AutoAWQQuantizer"),
    "QuarkQuantization": ("AutoAWQQuantizer", "Gptq"),
    "QuarkQuantizationVitisAI": ("AutoAWQQuantizer", "Gptq"),
    "RyzenGenerateModelLLM": ("ModelBuilder",),
    "SDLoRA": (),
    "SNPEConversion": (),
    "SNPEQuantization": ("OnnxStaticQuantization",),
    "SNPEtoONNXConversion": (),
    "SaveTestModelConfig": (),
    "TorchTRTConversion": (),
    "VitisAIAddMetaData": ("AddOliveMetadata",),
    "VitisAIQuantization": ("OnnxStaticQuantization",),
    "VitisGenerateModelLLM": ("ModelBuilder",),
    "VitisGenerateModelSD": ("OnnxConversion",),
    "VitisQDQQuantizer": ("OnnxStaticQuantization",),
}
# Further passes of Olive's that have their own names here; one that is missing after all is named as such.
_OTHERS = (
    "AddOliveMetadata",
    "AutoAWQQuantizer",
    "AutoClip",
    "CaptureSplitInfo",
    "ComposeOnnxModels",
    "DoRA",
    "DynamicToFixedShape",
    "ExtractAdapters",
    "Gptq",
    "GptqModel",
    "GptqQuantizer",
    "GraphSurgeries",
    "InputNCHWtoNHWC",
    "KQuant",
    "LoHa",
    "LoKr",
    "LoRA",
    "LoftQ",
    "MatMulNBitsToQDQ",
    "MergeAdapterWeights",
    "MixedPrecisionOverrides",
    "ModelBuilder",
    "OnnxBlockWiseRtnQuantization",
    "OnnxBnb4Quantization",
    "OnnxConversion",
    "OnnxDiscrepancyCheck",
    "OnnxDynamicQuantization",
    "OnnxFloatToFloat16",
    "OnnxHqqQuantization",
    "OnnxIODataTypeConverter",
    "OnnxKQuantQuantization",
    "OnnxOpVersionConversion",
    "OnnxPeepholeOptimizer",
    "OnnxQuantization",
    "OnnxQuantizationPreprocess",
    "OnnxScriptFusion",
    "OnnxStaticQuantization",
    "OrtSessionParamsTuning",
    "OrtTransformersOptimization",
    "QLoRA",
    "QNNPreprocess",
    "QuaRot",
    "Rtn",
    "SelectiveMixedPrecision",
    "SliceGPT",
    "SparseGPT",
    "SpinQuant",
    "SplitModel",
    "StaticLLM",
)
NAMES = sorted({*NEAR, *_OTHERS}, key=str.lower)
_BY_LOWER = {name.lower(): name for name in NAMES}


def known_elsewhere(name: str) -> str | None:
    """The proper spelling of a pass type that other files use, if it is one."""
    return _BY_LOWER.get(name.lower())


def hint_for(name: str) -> str:
    """What to use instead of a pass that is not here or that nothing can run yet."""
    near = [other for other in NEAR.get(_BY_LOWER.get(name.lower(), ""), ()) if _works(other)]
    if not near:
        return "Take the pass out, or bring one with an entry point; nothing here comes near."
    return f"{' or '.join(near)} does something near."


def _works(name: str) -> bool:
    try:
        return registry.load(name).available()
    except (registry.UnknownPass, ImportError):
        return False
