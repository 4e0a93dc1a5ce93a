"""The model to train: the base, frozen, with a new adapter or one to go on from."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from peft import (
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    PeftConfig,
    PeftModel,
    TaskType,
    get_peft_model,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
)
from transformers.pytorch_utils import Conv1D

from olive_like.artifacts import Adapter, HfModel
from olive_like.errors import PassError
from olive_like.passes._models import attach_adapter
from olive_like.passes.base import Context
from olive_like.passes.finetune.layers import matches, means

TASK_TYPES = {
    "text-generation": TaskType.CAUSAL_LM,
    "text-classification": TaskType.SEQ_CLS,
    "token-classification": TaskType.TOKEN_CLS,
    "text2text-generation": TaskType.SEQ_2_SEQ_LM,
    "question-answering": TaskType.QUESTION_ANS,
    "feature-extraction": TaskType.FEATURE_EXTRACTION,
}
_LAYERS = (torch.nn.Linear, Conv1D, torch.nn.Embedding, torch.nn.Conv2d)


def with_adapter(base: Any, method: str, source: HfModel | Adapter, config: Any, task: str, context: Context) -> Any:
    """The base with its adapter, ready to be trained."""
    start = config.init_adapter or (source.path if isinstance(source, Adapter) else None)
    if start is not None:
        context.note("goes on from an adapter that was trained before; its own rank and layers hold")
        model = attach_adapter(base, start, trainable=True)
    else:
        settings = adapter_config(base, method, config, task)
        _say_if_unused(config, settings, context)
        try:
            model = get_peft_model(base, settings, autocast_adapter_dtype=True)
        except ValueError as error:
            raise PassError(f"the adapter does not fit the model: {str(error).splitlines()[0]}") from error
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            # autocast casts the adapter's small weights; peft would widen the activations instead
            layer.cast_input_dtype_enabled = False
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PassError("nothing would be trained: no layer got an adapter")
    return model


def _say_if_unused(config: Any, settings: PeftConfig, context: Context) -> None:
    """A dropout that the user set and that the adapter does not have."""
    asked = config.lora_dropout if "lora_dropout" in config.model_fields_set else 0.0
    if not asked or getattr(settings, "lora_dropout", None) == asked:
        return
    if hasattr(settings, "lora_dropout"):
        context.note("`lora_dropout` has no effect here: an adapter that begins with a part of the base has none")
    else:
        context.note("`lora_dropout` has no effect here; there are `rank_dropout` and `module_dropout`")


def adapter_config(base: Any, method: str, config: Any, task: str) -> PeftConfig:
    """peft's settings, from ours."""
    kind = base.config.model_type
    common: dict[str, Any] = {"task_type": TASK_TYPES[task]}
    if config.modules_to_save:
        check_names(base, config.modules_to_save, "modules_to_save")
        common["modules_to_save"] = list(config.modules_to_save)
    if method == "ia3":
        return _ia3(base, config, common)
    targets = config.target_modules or TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(kind) or "all-linear"
    if isinstance(targets, list):
        check_names(base, targets, "target_modules")
        targets = spelt_out(base, targets)
    left_out = config.exclude_modules
    if isinstance(left_out, list):
        check_names(base, left_out, "exclude_modules")
        left_out = spelt_out(base, left_out)
    for field in ("rank_pattern", "alpha_pattern"):
        _check_patterns(base, list(getattr(config, field)), field)
    common |= {
        "r": config.r,
        "target_modules": targets,
        "exclude_modules": left_out or (_heads(base, task) if targets == "all-linear" else None),
        "layers_to_transform": config.layers_to_transform,
        "layers_pattern": config.layers_pattern,
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
    }
    if method in ("loha", "lokr"):
        names = ["rank_dropout", "module_dropout", "use_effective_conv2d", "init_weights"]
        names += ["decompose_both", "decompose_factor", "rank_dropout_scale"] if method == "lokr" else []
        cls = LoHaConfig if method == "loha" else LoKrConfig
        return cls(**common, alpha=config.alpha, **{name: getattr(config, name) for name in names})
    start: Any = getattr(config, "init_lora_weights", "default")
    if method == "pissa":
        start = f"pissa_niter_{config.niter}" if config.niter else "pissa"
    return LoraConfig(
        **common,
        lora_alpha=config.alpha,
        lora_dropout=0.0 if str(start).startswith("pissa") else config.lora_dropout,
        init_lora_weights=True if start == "default" else start,
        use_dora=method == "dora" or getattr(config, "use_dora", False),
        use_rslora=method == "rslora" or getattr(config, "use_rslora", False),
        bias=getattr(config, "bias", "none"),
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in base.modules()),
    )


def _ia3(base: Any, config: Any, common: dict[str, Any]) -> PeftConfig:
    kind = base.config.model_type
    targets = config.target_modules or TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind)
    forward = config.feedforward_modules or TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind)
    if targets is None or forward is None:
        raise PassError(
            f"IA3 does not know which layers of {kind} to scale",
            f"Name them with `target_modules` and `feedforward_modules`; there are: {_there(base)}.",
        )
    check_names(base, targets, "target_modules")
    targets = spelt_out(base, targets)
    if config.feedforward_modules:
        check_names(base, forward, "feedforward_modules")
        forward = spelt_out(base, forward)
        others = [name for name in forward if name not in targets]
        if others:
            raise PassError(
                f"feedforward_modules: {others[0]!r} is not among the `target_modules`",
                f"Those are: {', '.join(targets)}.",
            )
    # Of the usual ones, those that are to be scaled at all.
    inside = [name for name in targets if any(f".{name}".endswith(f".{one}") for one in forward)]
    return IA3Config(**common, target_modules=targets, feedforward_modules=inside)


def _heads(base: Any, task: str) -> list[str] | None:
    """Layers behind the encoder, which are trained whole: peft means them by the ends of their names."""
    if task not in ("text-classification", "token-classification", "question-answering"):
        return None
    inside = f"{base.base_model_prefix}."
    return [name for name, layer in base.named_modules() if isinstance(layer, _LAYERS) and not name.startswith(inside)]


def check_names(base: Any, names: list[str], field: str) -> None:
    """A name that no layer has is an error that lists the names there are."""
    paths = [path for path, _ in base.named_modules()]
    for name in names:
        if not any(path == name or path.endswith(f".{name}") or matches(name, path) for path in paths):
            near = difflib.get_close_matches(name, _leaf_names(base), 1)
            raise PassError(
                f"{field}: the model has no layer {name!r}{f'; did you mean {near[0]}?' if near else ''}",
                f"Its layers are: {_there(base)}.",
            )


def spelt_out(base: Any, names: list[str]) -> list[str]:
    """With layers in the place of patterns and of parts of the model: in a list peft takes names of layers alone."""
    paths = [path for path, layer in base.named_modules() if isinstance(layer, _LAYERS)]
    found: dict[str, None] = {}
    for name in names:
        is_layer = any(f".{path}".endswith(f".{name}") for path in paths)
        inside = [] if is_layer else [path for path in paths if means(name, path)]
        found.update(dict.fromkeys(inside or [name]))
    return list(found)


def _check_patterns(base: Any, patterns: list[str], field: str) -> None:
    """That each fits the end of some layer's path, as peft takes them."""
    paths = [path for path, _ in base.named_modules()]
    for pattern in patterns:
        if not any(matches(rf"(.*\.)?({pattern})$", path) for path in paths):
            raise PassError(f"{field}: no layer is meant by {pattern!r}", f"The model's layers are: {_there(base)}.")


def _leaf_names(base: Any) -> list[str]:
    return sorted({path.rpartition(".")[2] for path, layer in base.named_modules() if isinstance(layer, _LAYERS)})


def _there(base: Any) -> str:
    return ", ".join(name for name in _leaf_names(base) if not name.isdigit())


def is_peft(model: Any) -> bool:
    return isinstance(model, PeftModel)
