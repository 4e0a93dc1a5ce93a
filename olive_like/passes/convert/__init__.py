"""Passes that turn models into ONNX."""

_HERE = "olive_like.passes.convert"

PASSES: dict[str, str] = {
    "CaptureSplitInfo": f"{_HERE}.split_info:CaptureSplitInfo",
    "ModelBuilder": f"{_HERE}.model_builder:ModelBuilder",
    "MultiAdapterConversion": f"{_HERE}.multi_adapter:MultiAdapterConversion",
    "OnnxConversion": f"{_HERE}.onnx_conversion:OnnxConversion",
    "OptimumConversion": f"{_HERE}.optimum_conversion:OptimumConversion",
}
