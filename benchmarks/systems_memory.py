"""One rank of a training step; prints the bytes of parameters, gradients and optimizer that it holds."""

from __future__ import annotations

import gc
import json
import sys
import warnings
from typing import Any

import deepspeed
import torch
from deepspeed import ops
from torch._subclasses import FakeTensor
from transformers import LlamaConfig, LlamaForCausalLM

from olive_like.systems import zero

warnings.filterwarnings("ignore")
ops.__compatible_ops__["deepspeed_shm_comm"] = False


def held(model: Any) -> int:
    """Bytes of all tensors of this process, each storage once: there is nothing here but the model's state."""
    found = [value for value in gc.get_objects() if isinstance(value, torch.Tensor)]
    found += [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    storages = [tensor.untyped_storage() for tensor in found if not isinstance(tensor, FakeTensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}.values())


def main(stage: str, hidden: int) -> None:
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=4, num_attention_heads=8
    )
    half = stage != "ddp"
    settings = {
        **zero.settings(int(stage[-1]) if half else 0, None, None, False, {}),
        "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 2, "gradient_clipping": 1.0,
        "bf16": {"enabled": half}, "fp16": {"enabled": False}, "zero_allow_untested_optimizer": True,
    }  # fmt: skip
    settings.pop("train_batch_size")
    # The formula is of the state alone: buckets on the way are kept small.
    small = {"reduce_bucket_size": 500_000, "allgather_bucket_size": 500_000, "stage3_prefetch_bucket_size": 0}
    settings["zero_optimization"] |= small
    model = LlamaForCausalLM(config)
    parameters = sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters())
    if half:
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    else:
        engine = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    ids = torch.randint(0, 4096, (1, 8))
    peak = 0
    for turn in range(4):  # two steps of two batches: between these, gradients have to be kept
        loss = engine(input_ids=ids, labels=ids).loss
        engine.backward(loss) if half else loss.backward()
        del loss
        peak = max(peak, held(model))
        if half:
            engine.step()
        elif turn % 2:
            optimizer.step()
            optimizer.zero_grad()
        peak = max(peak, held(model))
    print("JSON " + json.dumps({"bytes": peak, "parameters": parameters}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
