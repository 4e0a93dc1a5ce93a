"""Other libraries' quantisers for benchmarks/quantize.py, each run by the interpreter that has it.

usage: python benchmarks/quantize_peers.py NAME JSON      quantise; the result stands in the folder `out`
       python benchmarks/quantize_peers.py --version NAME
       python benchmarks/quantize_peers.py --list

They get the model as it is, the same token sequences, bits, group size and symmetry; what else they have stays at
their defaults. The time is that of loading and quantising; writing the result is not part of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

Task = dict[str, Any]
Save = Callable[[], None]


@dataclass
class Peer:
    distribution: str
    run: Callable[[Task, list[list[int]]], Save]


def gptqmodel(task: Task, texts: list[list[int]]) -> Save:
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # fewer it does not start with, and takes on two cores
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(bits=4, group_size=task["group"], sym=task["sym"], device="cpu")
    model = GPTQModel.load(task["model"], config)
    model.quantize([{"input_ids": text, "attention_mask": [1] * len(text)} for text in texts], batch_size=8)
    return lambda: model.save(task["out"])


def auto_round(iterations: int) -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        import torch
        from auto_round import AutoRound
        from transformers import AutoTokenizer

        settings = {"bits": 4, "group_size": task["group"], "sym": task["sym"], "iters": iterations}
        tool = AutoRound(
            task["model"], AutoTokenizer.from_pretrained(task["model"]), nsamples=len(texts), seqlen=len(texts[0]),
            dataset=[torch.tensor([text]) for text in texts], device_map="cpu", **settings,
        )  # fmt: skip
        model, _ = tool.quantize()
        return lambda: save(task, {name: module.weight for name, module in linears(model)})

    return run


def llm_compressor(modifiers: Callable[[dict[str, Any]], list[Any]]) -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
        from compressed_tensors.quantization.lifecycle.forward import fake_quantize
        from datasets import Dataset
        from llmcompressor import oneshot

        weights = QuantizationArgs(num_bits=4, symmetric=task["sym"], strategy="group", group_size=task["group"])
        groups = {"all": QuantizationScheme(targets=["Linear"], weights=weights)}
        rows = Dataset.from_list([{"input_ids": text, "attention_mask": [1] * len(text)} for text in texts])
        model = load(task)
        oneshot(
            model=model, dataset=rows, recipe=modifiers({"config_groups": groups, "ignore": ["lm_head"]}),
            num_calibration_samples=len(texts), max_seq_length=len(texts[0]), shuffle_calibration_samples=False,
        )  # fmt: skip
        return lambda: save(task, {
            name: fake_quantize(layer.weight, layer.weight_scale, layer.weight_zero_point, weights)
            for name, layer in linears(model)
        }, model)  # fmt: skip

    return run


def compressor_gptq(settings: dict[str, Any]) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier

    return [GPTQModifier(**settings)]


def compressor_awq(settings: dict[str, Any]) -> list[Any]:
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    return [AWQModifier(duo_scaling="both"), QuantizationModifier(**settings)]


def inc(make: str, dtype: str = "auto") -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        import torch
        from neural_compressor.torch import quantization

        config = getattr(quantization, make)(bits=4, group_size=task["group"], use_sym=task["sym"])
        model = load(task, dtype)
        layers = [name for name, _ in linears(model)]
        model = quantization.prepare(model, config, example_inputs=torch.tensor([texts[0]]))
        with torch.inference_mode(False), torch.no_grad():
            for text in texts:
                model(torch.tensor([text]))
        model = quantization.convert(model)
        return lambda: save(task, {name: inc_weight(model.get_submodule(name)) for name in layers}, model)

    return run


def inc_weight(module: Any) -> Any:
    """Dense weights of one layer, which AWQ may have put behind a factor on its inputs."""
    inner = getattr(module, "linear", module)
    weight = inner.recover() if hasattr(inner, "recover") else inner.weight
    return weight if inner is module else weight * module.input_scale


def hqq(whole: bool) -> Callable[[Task, list[list[int]]], Save]:
    """As published; or with its zero points rounded afterwards, as formats without others need them."""

    def run(task: Task, _: list[list[int]]) -> Save:
        import torch
        from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
        from hqq.models.hf.base import AutoHQQHFModel

        model = load(task, "float32")
        before = {name: layer.weight.detach().clone() for name, layer in linears(model)} if whole else {}
        config = BaseQuantizeConfig(nbits=4, group_size=task["group"], axis=1)
        AutoHQQHFModel.quantize_model(model, config, compute_dtype=torch.float32, device="cpu")
        layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, HQQLinear)}

        def dense(name: str) -> Any:
            if not whole:
                return layers[name].dequantize()
            scale, zero = layers[name].meta["scale"].float(), layers[name].meta["zero"].float().round()
            blocks = before[name].view(len(scale), -1)
            return (((blocks / scale + zero).round().clamp(0, 15) - zero) * scale).view(before[name].shape)

        return lambda: save(task, {name: dense(name) for name in layers})

    return run


def olive(kind: str) -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        import torch
        from olive.common.quant.nn import QuantLinear
        from olive.model import HfModelHandler
        from olive.passes.olive_pass import create_pass_from_dict
        from olive.passes.pytorch import gptq, quant_utils, rtn

        rows = [
            {"input_ids": torch.tensor([t]), "attention_mask": torch.ones(1, len(t), dtype=torch.long)} for t in texts
        ]
        quant_utils.get_calibration_dataset = lambda *_: rows
        settings = {"bits": 4, "group_size": task["group"], "sym": task["sym"]}
        module = {"Gptq": gptq, "Rtn": rtn}[kind]
        finalize, made = module.finalize, []

        def keep(model: Any, path: Any, wrapper: Any, *rest: Any, **options: Any) -> Any:
            # Read from memory: this version's folders load with random weights in newer transformers.
            made.append(wrapper.model)
            return finalize(model, path, wrapper, *rest, **options)

        module.finalize = keep
        create_pass_from_dict(getattr(module, kind), settings, disable_search=True).run(
            HfModelHandler(task["model"]), task["out"] + ".olive"
        )
        return lambda: save(task, {
            n: m.unpack_and_dequantize(m.qweight, m.scales, getattr(m, "qzeros", None))
            for n, m in made[0].named_modules() if isinstance(m, QuantLinear)
        })  # fmt: skip

    return run


PEERS = {
    "gptqmodel": Peer("gptqmodel", gptqmodel),
    "auto-round": Peer("auto-round", auto_round(200)),
    "auto-round-25": Peer("auto-round", auto_round(25)),
    "auto-round-rtn": Peer("auto-round", auto_round(0)),
    "llm-compressor-gptq": Peer("llmcompressor", llm_compressor(compressor_gptq)),
    "llm-compressor-awq": Peer("llmcompressor", llm_compressor(compressor_awq)),
    "inc-gptq": Peer("neural-compressor-pt", inc("GPTQConfig")),
    "inc-awq": Peer("neural-compressor-pt", inc("AWQConfig", "float32")),
    "hqq": Peer("hqq", hqq(whole=False)),
    "hqq-whole-zeros": Peer("hqq", hqq(whole=True)),
    "olive-gptq": Peer("olive-ai", olive("Gptq")),
    "olive-rtn": Peer("olive-ai", olive("Rtn")),
}


def load(task: Task, dtype: str = "auto") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(task["model"], dtype=dtype).eval()


def linears(model: Any) -> list[tuple[str, Any]]:
    """The layers of the blocks."""
    import torch

    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]


def save(task: Task, weights: dict[str, Any], changed: Any = None) -> None:
    """The model with these dense weights of its blocks' layers; norms and the like from `changed` if it is given."""
    import torch

    model = load(task, "float32")
    layers = dict(linears(model))
    if missing := set(layers) - set(weights):
        raise SystemExit(f"{len(missing)} layers were not quantised, {min(missing)} first")
    with torch.no_grad():
        for name, module in layers.items():
            module.weight.copy_(weights[name].reshape(module.weight.shape))
        others = {} if changed is None else dict(changed.named_parameters())
        for name, parameter in model.named_parameters():
            if name in others and name.removesuffix(".weight") not in layers:
                parameter.copy_(others[name])
    model.save_pretrained(task["out"])


def main() -> None:
    if sys.argv[1] == "--list":
        print(json.dumps({name: peer.distribution for name, peer in PEERS.items()}))
        return
    if sys.argv[1] == "--version":
        with contextlib.suppress(metadata.PackageNotFoundError):
            print(metadata.version(PEERS[sys.argv[2]].distribution))
        return
    import torch

    task = json.loads(sys.argv[2])
    torch.set_num_threads(task["threads"])
    with open(task["text"]) as file:
        texts = json.load(file)
    started, cpu = time.perf_counter(), time.process_time()
    finish = PEERS[sys.argv[1]].run(task, texts)
    row = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    finish()
    print(json.dumps(row))


if __name__ == "__main__":
    main()
