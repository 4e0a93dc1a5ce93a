"""`olive-like finetune`: train an adapter, or the whole model, on a data set."""

from __future__ import annotations

import argparse
from typing import Any

from olive_like.cli import carry_out, flags, sections, training_flags
from olive_like.errors import WorkflowError

_METHODS = {
    "lora": "LoRA",
    "qlora": "QLoRA",
    "loftq": "LoftQ",
    "dora": "DoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "pissa": "PiSSA",
    "rslora": "RsLoRA",
    "ia3": "IA3",
    "adapter": "Adapter",
    "full": "FullFinetune",
    "dpo": "DPO",
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
    group.add_argument("--eval-fraction", type=float, metavar="X", help="part of the rows to hold out and evaluate on")
    flags.switch(group, "--packing", help="fill sequences with several examples")
    flags.switch(group, "--train-on-prompt", help="learn prompts too, not answers alone")
    group.add_argument("--train-subset", metavar="NAME", help="configuration of a hub data set")
    group.add_argument("--eval-subset", metavar="NAME", help="the same for evaluation")
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="examples per step; also --per-device-train-batch-size"
    )
    group.add_argument("--system", metavar="TYPE", help="where to train: local, cuda, torchrun, deepspeed")
    flags.device(parser, default=None)
    flags.output(parser, "finetuned-adapter")


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Flags of the command, and any setting of the method's pass."""
    args, unknown = parser.parse_known_args(arguments)
    args.settings = training_flags.settings(_METHODS[args.method], unknown, flags.known_flags(parser))
    return args


def execute(args: argparse.Namespace) -> int:
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow that the flags mean."""
    _require(args)
    model = sections.input_model(args)
    more = {
        "split": args.train_split, "subset": args.train_subset, "eval_fraction": args.eval_fraction,
        "packing": args.packing, "train_on_prompt": args.train_on_prompt,
    }  # fmt: skip
    data = sections.data_config(args, **{name: value for name, value in more.items() if value})
    assert data is not None
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
    if args.test and "init_adapter" in step:
        sections.say_left_out(step.pop("init_adapter"))
    if args.method != "full":
        _go_on(model, step, args)
    sets = [{"name": "train", **data}, *([{"name": "eval", **eval_data}] if eval_data else [])]
    made = {"model": "tune"} if args.method == "full" else {"adapter": "tune", "model": "input_model"}
    trainer = {"type": args.system, **({"device": args.device} if args.device else {})}
    where = {"systems": {"trainer": trainer}, "system": "trainer"} if args.system else sections.system(args)
    return {
        "input_model": model,
        "data_configs": sets,
        **where,
        "passes": {"tune": step},
        "outputs": made,
        "seed": args.seed,
    }


def _go_on(model: dict[str, Any], step: dict[str, Any], args: argparse.Namespace) -> None:
    """An adapter over the model is where to begin: the model without it is what the new one is delivered beside."""
    adapter = model.pop("adapter_path", None)
    if adapter and "init_adapter" not in step:
        step["init_adapter"] = adapter
    elif adapter and args.adapter_path and adapter != step["init_adapter"]:
        raise WorkflowError("--adapter-path and --init-adapter name two adapters to go on from", "Leave one out.")


def _require(args: argparse.Namespace) -> None:
    """All that is missing in one error: a model to train, and data to train it on."""
    given = {
        "--model_name_or_path": args.model_name_or_path or args.model_script,
        "--data_name": args.data_name or args.data_files,
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise WorkflowError(
            f"{' and '.join(missing)} {verb} missing", "Each is a local file or folder, or the name of one on the hub."
        )
