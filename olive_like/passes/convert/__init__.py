"""Passes that turn models into ONNX."""

_HERE = "olive_like.passes.convert"

PASSES: dict[str, str] = {
    "OnnxConversion": f"{_HERE}.onnx_conversion:OnnxConversion",
}
