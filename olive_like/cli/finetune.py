"""`olive-like finetune`: train an adapter, or the whole model, on a data set."""

from __future__ import annotations

import argparse
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError

_METHODS = {
    "lora": "LoRA",
    "qlora": "QLoRA",
    "dora": "DoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "pissa": "PiSSA",
    "rslora": "RsLoRA",
    "ia3": "IA3",
    "adapter": "Adapter",
    "full": "FullFinetune",
}


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser)
    flags.data(parser)
    group = parser.add_argument_group("training (and every other setting of the method's pass: --learning-rate 1e-4)")
    group.add_argument("--method", choices=_METHODS, default="lora", help="default: lora")
    group.add_argument(
        "--torch-dtype", "--dtype", help="bfloat16, float16 or float32; default: what the device is fast at"
    )
    group.add_argument("--lora-r", type=int, metavar="N", help="rank of the adapter")
    group.add_argument("--lora-alpha", type=float, metavar="X", help="scale of the adapter")
    group.add_argument("--target-modules", metavar="NAMES", help="layers that get an adapter, with commas between")
    group.add_argument("--train-split", metavar="SPLIT", help="rows to train on, as in train[:4096]")
    group.add_argument("--eval-split", metavar="SPLIT", help="rows to evaluate on")
    group.add_argument("--train-subset", metavar="NAME", help="configuration of a hub data set")
    group.add_argument("--eval-subset", metavar="NAME", help="the same for evaluation")
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="examples per step; also --per-device-train-batch-size"
    )
    group.add_argument("--system", metavar="TYPE", help="where to train: local, cuda, torchrun, deepspeed")
    flags.device(parser)
    flags.output(parser, "finetuned-adapter")


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Flags of the command, and any setting of the method's pass."""
    args, unknown = parser.parse_known_args(arguments)
    args.settings = _settings(_METHODS[args.method], unknown, flags.known_flags(parser))
    return args


def execute(args: argparse.Namespace) -> int:
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow that the flags mean."""
    model = sections.input_model(args)
    data = sections.data_config(
        args, **{k: v for k, v in (("split", args.train_split), ("subset", args.train_subset)) if v}
    )
    if data is None:
        raise WorkflowError("--data-name is missing", "Name a data set: a local file or folder, or a hub name.")
    eval_data = None
    if args.eval_split and args.eval_subset and args.eval_subset != args.train_subset:
        eval_data = {**data, "split": args.eval_split, "subset": args.eval_subset}
    elif args.eval_split:
        data["eval_split"] = args.eval_split
    step: dict[str, Any] = {"type": _METHODS[args.method], "train_data_config": "train"}
    if eval_data:
        step["eval_data_config"] = "eval"
    for name, value in (
        ("r", args.lora_r), ("alpha", args.lora_alpha), ("torch_dtype", args.torch_dtype),
        ("target_modules", flags.listed(args.target_modules)), ("per_device_train_batch_size", args.batch_size),
    ):  # fmt: skip
        if value is not None:
            step[name] = value
    step |= args.settings
    sets = [{"name": "train", **data}, *([{"name": "eval", **eval_data}] if eval_data else [])]
    made = {"model": "tune"} if args.method == "full" else {"adapter": "tune", "model": "input_model"}
    where = (
        {"systems": {"trainer": {"type": args.system}}, "system": "trainer"} if args.system else sections.system(args)
    )
    return {
        "input_model": model,
        "data_configs": sets,
        **where,
        "passes": {"tune": step},
        "outputs": made,
        "seed": args.seed,
    }


def _settings(pass_name: str, arguments: list[str], known: list[str]) -> dict[str, Any]:
    """`--learning-rate 1e-4` and the like, as far as the pass has such a setting."""
    from olive_like.passes.registry import load
    from olive_like.workflow.validation import names_at

    names = names_at(load(pass_name).Config, ())
    settings: dict[str, Any] = {}
    position = 0
    while position < len(arguments):
        flag, sign, value = arguments[position].partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in names:
            raise flags.unknown_flag(arguments[position], [*known, *("--" + n.replace("_", "-") for n in names)])
        position += 1
        if not sign:
            follows = position < len(arguments) and not arguments[position].startswith("--")
            value = arguments[position] if follows else "true"
            position += follows
        settings[name] = _value(value)
    return settings


def _value(text: str) -> Any:
    from olive_like.workflow.overrides import value_of

    return value_of(text)
