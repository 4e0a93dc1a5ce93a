"""DeepSpeed's settings: made from the system's, with a configuration of the user's merged in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Where tensors are kept and how they travel: this changes memory and speed, not what is learnt.
_PLACEMENT = frozenset(
    {
        "stage", "offload_optimizer", "offload_param", "overlap_comm", "contiguous_gradients", "reduce_bucket_size",
        "allgather_bucket_size", "allgather_partitions", "reduce_scatter", "sub_group_size", "round_robin_gradients",
        "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold", "stage3_max_live_parameters",
        "stage3_max_reuse_distance", "stage3_gather_16bit_weights_on_model_save",
        "gather_16bit_weights_on_model_save",
    }
)  # fmt: skip
_TALK = frozenset(
    {"steps_per_print", "wall_clock_breakdown", "dump_state", "tensorboard", "wandb", "csv_monitor", "comms_logger"}
)


ADAM: dict[str, Any] = {
    "type": "AdamW",
    "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"},
}


class Conflict(ValueError):
    """The same setting is given twice, differently."""


def settings(
    stage: int, offload: str | None, nvme_path: str | None, gpu: bool, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What DeepSpeed is started with; `auto` is filled in from the pass's settings when it runs."""
    zero: dict[str, Any] = {"stage": stage}
    place: dict[str, Any] = {"device": offload}
    if offload == "nvme":
        place["nvme_path"] = nvme_path
    if offload:
        zero["offload_optimizer"] = {**place, "pin_memory": gpu}
        if stage == 3:
            zero["offload_param"] = {**place, "pin_memory": gpu}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    made: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": zero,
    }
    if offload and gpu:  # DeepSpeed's own Adam computes where the optimizer is
        made["optimizer"] = ADAM
    elif offload:
        made["zero_force_ds_cpu_optimizer"] = False  # its Adam has to be compiled; PyTorch's is on the CPU anyway
    return merged(made, given)


def merged(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Both together. What is given fills in what we leave open; elsewhere the two must agree."""
    conflicts = list(_conflicts(ours, given, ""))
    if conflicts:
        raise Conflict("; ".join(conflicts))
    return _joined(ours, given)


def semantic(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration can change what is learnt."""
    kept = {name: value for name, value in given.items() if name not in _TALK}
    zero = kept.get("zero_optimization")
    if isinstance(zero, Mapping):
        kept["zero_optimization"] = {name: value for name, value in zero.items() if name not in _PLACEMENT}
    return {name: value for name, value in kept.items() if value != {} and value != "auto"}


def _conflicts(ours: Mapping[str, Any], given: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in given.items():
        if name not in ours:
            continue
        mine, where = ours[name], f"{path}{name}"
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            yield from _conflicts(mine, value, f"{where}.")
        elif mine != "auto" and value != "auto" and mine != value:
            yield f"ds_config has {where}: {value!r}, the system means {mine!r}"


def _joined(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(ours)
    for name, value in given.items():
        mine = both.get(name)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            both[name] = _joined(mine, value)
        elif name not in both or value != "auto":
            both[name] = value
    return both
