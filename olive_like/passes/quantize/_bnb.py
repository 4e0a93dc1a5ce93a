"""bitsandbytes' formats, written by the libraries themselves; transformers rounds tensor by tensor as it loads."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BitsAndBytesConfig

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes import _writing
from olive_like.passes._models import quiet
from olive_like.passes.base import Context
from olive_like.passes.quantize._checkpoint import copy_side_files
from olive_like.passes.quantize._grid import Spec
from olive_like.passes.quantize._output import LayerError, Report
from olive_like.passes.quantize._skeleton import Skeleton, Target, check_names, finite, load_skeleton, model_class


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    import bitsandbytes

    torch.set_num_threads(context.threads)
    quiet()
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "Quantise the original model, with full weights.")
    exclude = list(config.modules_to_not_convert or [])
    check_names("modules_to_not_convert", exclude, skeleton)
    for name in skeleton.checkpoint.entries:
        if name.endswith("weight"):
            finite(skeleton.checkpoint.read(name), name)
    head = [skeleton.head] if skeleton.head else []
    settings = BitsAndBytesConfig(
        load_in_8bit=config.precision == "int8",
        load_in_4bit=config.precision != "int8",
        llm_int8_skip_modules=[*head, *exclude] or None,
        bnb_4bit_quant_type="fp4" if config.precision == "int8" else config.precision,
        bnb_4bit_use_double_quant=config.double_quant and config.precision != "int8",
        bnb_4bit_compute_dtype=getattr(torch, config.compute_dtype),
    )
    network = model_class(skeleton.config).from_pretrained(
        model.path, quantization_config=settings, dtype="auto", device_map={"": context.device}, local_files_only=True
    )
    network.save_pretrained(context.output)
    copy_side_files(model.path, context.output, leave=["generation_config.json"])
    report = Report(config.precision)
    kinds = (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt)
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, kinds)]
    if not layers:
        raise PassError("no layer is left to quantise", "Look at `modules_to_not_convert`.")
    bits = 0
    for name, module in layers:
        outputs, inputs = module.out_features, module.in_features
        spec = Spec(8 if config.precision == "int8" else 4, inputs if config.precision == "int8" else 64, True)
        target = Target(name, str(skeleton.stored(name)), outputs, inputs, spec)
        report.add(target, _error(skeleton, target, module))
        bits += spec.bits * outputs * inputs
    report.write(model, context.output, context, bits)
    size = sum(entry.nbytes for entry in skeleton.checkpoint.entries.values())
    writes = network.can_generate() and network.main_input_name == "input_ids"  # speech and pictures begin otherwise
    if writes and _writing.wanted(config.measure_speed, size, context):
        dense = type(network).from_pretrained(model.path, dtype="auto", local_files_only=True).to(context.device)
        _writing.tell(_writer(dense), _writer(network), context)
    return HfModel(context.output, model.attributes)


def _writer(network: Any) -> _writing.Write:
    prompt = torch.tensor([[3]], device=network.device)

    def write(tokens: int) -> None:
        with torch.inference_mode():
            network.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
                min_new_tokens=tokens, max_new_tokens=tokens,
            )  # fmt: skip

    network.eval()
    return write


def _error(skeleton: Skeleton, target: Target, module: Any) -> dict[str, float]:
    from bitsandbytes.functional import dequantize_4bit

    weight = skeleton.checkpoint.read(f"{target.tensor}.weight").float()
    stored = module.weight
    if getattr(stored, "quant_state", None) is not None:
        rounded = dequantize_4bit(stored.data, stored.quant_state).float().cpu()
    else:
        rounded = stored.data.float().cpu() * (stored.SCB.float().cpu() / 127).unsqueeze(1)
    error = LayerError()
    error.add(weight, rounded.view(weight.shape))
    return error.to_json()
