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


def gptqmodel(task: Task, texts: list[list[int]], **options: Any) -> Save:
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(bits=4, group_size=task["group"], sym=task["sym"], device="cpu", **options)
    model = GPTQModel.load(task["model"], config, device="cpu")
    model.quantize([{"input_ids": text, "attention_mask": [1] * len(text)} for text in texts], batch_size=8)
    return lambda: model.save(task["out"])


def gptqmodel_awq(task: Task, texts: list[list[int]]) -> Save:
    from gptqmodel.quantization import FORMAT, METHOD

    return gptqmodel(task, texts, method=METHOD.AWQ, format=FORMAT.GEMM)


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


def inc(make: str, **options: Any) -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        import torch
        from neural_compressor.torch import quantization

        config = getattr(quantization, make)(bits=4, group_size=task["group"], use_sym=task["sym"], **options)
        model = quantization.prepare(load(task), config, example_inputs=torch.tensor([texts[0]]))
        with torch.inference_mode(False), torch.no_grad():
            for text in texts:
                model(torch.tensor([text]))
        model = quantization.convert(model)
        return lambda: save(task, {n: m.recover() for n, m in model.named_modules() if hasattr(m, "recover")})

    return run


def hqq(task: Task, _: list[list[int]]) -> Save:
    import torch
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
    from hqq.models.hf.base import AutoHQQHFModel

    model = load(task)
    config = BaseQuantizeConfig(nbits=4, group_size=task["group"], axis=1)
    AutoHQQHFModel.quantize_model(model, config, compute_dtype=torch.float32, device="cpu")
    return lambda: save(task, {n: m.dequantize() for n, m in model.named_modules() if isinstance(m, HQQLinear)})


def olive(name: str) -> Callable[[Task, list[list[int]]], Save]:
    def run(task: Task, texts: list[list[int]]) -> Save:
        import torch
        from olive.common.quant.nn import QuantLinear
        from olive.model import HfModelHandler
        from olive.passes.olive_pass import create_pass_from_dict
        from olive.passes.pytorch import gptq, quant_utils, rtn
        from transformers import AutoModelForCausalLM

        rows = [
            {"input_ids": torch.tensor([t]), "attention_mask": torch.ones(1, len(t), dtype=torch.long)} for t in texts
        ]
        quant_utils.get_calibration_dataset = lambda *_: rows
        settings = {"bits": 4, "group_size": task["group"], "sym": task["sym"]}
        cls = {"Gptq": gptq.Gptq, "Rtn": rtn.Rtn}[name]
        made = create_pass_from_dict(cls, settings, disable_search=True).run(
            HfModelHandler(task["model"], load_kwargs={"torch_dtype": "float32"}), task["out"] + ".olive"
        )

        def widen() -> None:
            model = AutoModelForCausalLM.from_pretrained(made.model_path)
            save(task, {
                n: m.unpack_and_dequantize(m.qweight, m.scales, getattr(m, "qzeros", None))
                for n, m in model.named_modules() if isinstance(m, QuantLinear)
            })  # fmt: skip

        return widen

    return run


PEERS = {
    "gptqmodel": Peer("gptqmodel", gptqmodel),
    "gptqmodel-awq": Peer("gptqmodel", gptqmodel_awq),
    "auto-round": Peer("auto-round", auto_round(200)),
    "auto-round-rtn": Peer("auto-round", auto_round(0)),
    "inc-gptq": Peer("neural-compressor-pt", inc("GPTQConfig")),
    "inc-awq": Peer("neural-compressor-pt", inc("AWQConfig")),
    "hqq": Peer("hqq", hqq),
    "olive-gptq": Peer("olive-ai", olive("Gptq")),
    "olive-rtn": Peer("olive-ai", olive("Rtn")),
}


def load(task: Task) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32).eval()


def linears(model: Any) -> list[tuple[str, Any]]:
    """The layers of the blocks."""
    import torch

    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]


def save(task: Task, weights: dict[str, Any]) -> None:
    """The model with these dense weights, each of its blocks' layers among them."""
    import torch

    model = load(task)
    layers = dict(linears(model))
    if missing := set(layers) - set(weights):
        raise SystemExit(f"{len(missing)} layers were not quantised, {min(missing)} first")
    with torch.no_grad():
        for name, module in layers.items():
            module.weight.copy_(weights[name].reshape(module.weight.shape))
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
