"""Passes that turn models into ONNX."""

_HERE = "olive_like.passes.convert"

PASSES: dict[str, str] = {
    "ModelBuilder": f"{_HERE}.model_builder:ModelBuilder",
    "OnnxConversion": f"{_HERE}.onnx_conversion:OnnxConversion",
}
