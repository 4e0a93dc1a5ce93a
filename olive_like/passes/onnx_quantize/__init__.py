"""Passes that quantise ONNX models."""

_HERE = "olive_like.passes.onnx_quantize"

PASSES: dict[str, str] = {
    "OnnxDynamicQuantization": f"{_HERE}.dynamic:OnnxDynamicQuantization",
    "OnnxStaticQuantization": f"{_HERE}.static:OnnxStaticQuantization",
    "OnnxQuantization": f"{_HERE}.static:OnnxQuantization",
    "QNNPreprocess": f"{_HERE}.qnn_preprocess:QNNPreprocess",
    "OnnxQuantizationPreprocess": f"{_HERE}.preprocess:OnnxQuantizationPreprocess",
    "OnnxBlockWiseRtnQuantization": f"{_HERE}.rtn:OnnxBlockWiseRtnQuantization",
    "OnnxHqqQuantization": f"{_HERE}.hqq:OnnxHqqQuantization",
    "OnnxKQuantQuantization": f"{_HERE}.k_quant:OnnxKQuantQuantization",
    "OnnxGptq": f"{_HERE}.gptq:OnnxGptq",
    "OnnxBnb4Quantization": f"{_HERE}.bnb4:OnnxBnb4Quantization",
    "MatMulNBitsToQDQ": f"{_HERE}.nbits_to_qdq:MatMulNBitsToQDQ",
    "OnnxFloat8Quantization": f"{_HERE}.float8:OnnxFloat8Quantization",
    "OnnxEmbeddingQuantization": f"{_HERE}.embedding:OnnxEmbeddingQuantization",
}

ALIASES: dict[str, str] = {"OnnxMatMul4Quantizer": "OnnxBlockWiseRtnQuantization"}
