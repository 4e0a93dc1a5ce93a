"""The measured parts of finetune.py, each run in a process of its own: NAME, arguments as JSON, file of the answer."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from olive_like.artifacts import Adapter, Artifact, HfModel  # noqa: E402
from olive_like.passes.base import Context  # noqa: E402
from olive_like.passes.prepare.tokenize import TokenizedText  # noqa: E402
from olive_like.passes.registry import load  # noqa: E402

RANK = {"r": 16, "alpha": 32, "lora_dropout": 0.0}


def threads() -> int:
    import os

    return int(os.environ.get("OMP_NUM_THREADS", "2"))


def context(data: Any = None, said: list[Any] | None = None, held: Any = None) -> Context:
    folder = Path(tempfile.mkdtemp(prefix="bench-finetune-"))
    (folder / "output").mkdir()
    (folder / "scratch").mkdir()
    sets = {name: one for name, one in (("train_data_config", data), ("eval_data_config", held)) if one is not None}

    def emit(kind: str, values: Any) -> None:
        if said is not None:
            said.append((kind, dict(values) | {"seconds": time.perf_counter(), "cpu": time.process_time()}))

    return Context(folder / "output", folder / "scratch", threads=threads(), data=sets, emit=emit)


def prepare(model: Artifact, **settings: Any) -> Any:
    return TokenizedText().apply([model], TokenizedText.Config.model_validate(settings), context())


def chats(model: Artifact, data: str, file: str, length: int, packing: bool = False, count: int | None = None) -> Any:
    if file == "wiki":  # every token learnt, every sequence full
        rows = json.loads(Path(data, "alpaca_en_demo.json").read_text("utf-8"))
        text = "\n".join(row["output"] for row in rows)
        return prepare(model, rows=[{"text": text}], packing=True, max_seq_len=length)
    return prepare(model, source=str(Path(data, file)), max_seq_len=length, packing=packing, max_samples=count)


def full_batches(dataset: Any, batch: int, steps: int, length: int) -> list[list[dict[str, Any]]]:
    """The batches that ours will see, in its order."""
    from olive_like.data._tokenized import read
    from olive_like.passes.finetune._trainer import EpochOrder

    records = read(dataset)
    order = list(EpochOrder([len(r["input_ids"]) for r in records], batch, 0, False))
    return [[records[i] for i in order[at : at + batch]] for at in range(0, batch * steps, batch)]


def ours(model: str, data: str, steps: int, batch: int, length: int, file: str, packing: bool = False) -> Any:
    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    said: list[Any] = []
    settings = {**RANK, "max_steps": steps + 1, "batch_size": batch, "logging_steps": 1, "save_steps": 10_000}
    cls = load("LoRA")
    config = cls.Config.model_validate(settings | {"train_data_config": "d", "lr_scheduler_type": "constant"})
    cls().apply([source], config, context(chats(source, data, file, length, packing), said))
    lines = [v for kind, v in said if kind == "progress" and "loss" in v]
    # The first step warms caches up, here as there. Tokens and seconds of it are taken off.
    tokens = lines[-1]["tokens"] - lines[0]["tokens"]
    return {
        "tokens_per_second": tokens / (lines[-1]["seconds"] - lines[0]["seconds"]),
        "tokens_per_cpu_second": tokens / (lines[-1]["cpu"] - lines[0]["cpu"]),
        "losses": [round(v["loss"], 4) for v in lines],
    }


def dtype() -> Any:
    from olive_like.passes.finetune._device import bf16_is_fast

    return {"name": "bfloat16" if bf16_is_fast("cpu") else "float32"}


class Clock:
    """Seconds, of the wall and of the processor: where others use the machine the second tells more."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def rates(self, tokens: int) -> dict[str, float]:
        return {
            "tokens_per_second": tokens / (time.perf_counter() - self.wall),
            "tokens_per_cpu_second": tokens / (time.process_time() - self.cpu),
        }


def _peft(model: str) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, set_seed

    from olive_like.passes.finetune._device import bf16_is_fast

    torch.set_num_threads(threads())
    set_seed(0)
    dtype = torch.bfloat16 if bf16_is_fast("cpu") else torch.float32
    base = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    return get_peft_model(
        base,
        LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )


def _padded(records: list[dict[str, Any]]) -> Any:
    import torch

    size = max(len(r["input_ids"]) for r in records)

    def pad(name: str, value: int) -> Any:
        return torch.tensor([list(r[name]) + [value] * (size - len(r[name])) for r in records])

    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (size - len(r["input_ids"])) for r in records])
    return {"input_ids": pad("input_ids", 0), "attention_mask": mask, "labels": pad("labels", -100)}


def plain_loop(model: str, data: str, steps: int, batch: int, length: int, file: str) -> Any:
    import torch

    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    batches = [_padded(b) for b in full_batches(chats(source, data, file, length), batch, steps + 1, length)]
    tuned = _peft(model).train()
    trained = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    losses, tokens, clock = [], 0, Clock()
    for number, one in enumerate(batches):
        if number == 1:
            clock = Clock()
        loss = tuned(**one).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(round(loss.item(), 4))
        tokens += int(one["attention_mask"].sum()) if number else 0
    return clock.rates(tokens) | {"losses": losses}


def plain_trainer(model: str, data: str, steps: int, batch: int, length: int, file: str) -> Any:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    clocks: list[Clock] = []

    class Start(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 1:
                clocks.append(Clock())

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            from torch.utils.data import SequentialSampler

            return SequentialSampler(self.train_dataset)

    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    batches = full_batches(chats(source, data, file, length), batch, steps + 1, length)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), max_steps=steps + 1, per_device_train_batch_size=batch, learning_rate=2e-4,
        lr_scheduler_type="constant", use_cpu=True, report_to=[], save_strategy="no", logging_steps=1,
        disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    records = [r for b in batches for r in b]
    trainer = InOrder(_peft(model), arguments, data_collator=_padded, train_dataset=records, callbacks=[Start()])
    trainer.train()
    rates = clocks[0].rates(sum(len(r["input_ids"]) for b in batches[1:] for r in b))
    losses = [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry]
    return rates | {"losses": losses}


def tiny_model(folder: str) -> Any:
    from tests.tiny_models import tiny_llama

    tiny_llama(Path(folder))
    return {}


def method(name: str, model: str, data: str, steps: int, **more: Any) -> Any:
    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    dataset = prepare(source, source=str(Path(data, "alpaca_en_demo.json")), max_seq_len=512, eval_fraction=0.04)
    cls, said = load(name), []
    settings = {**RANK, "max_steps": steps, "batch_size": 2, "eval_steps": steps, "save_steps": 10_000}
    began = time.perf_counter()
    config = cls.Config.model_validate(
        settings | {"train_data_config": "d", "learning_rate": 1e-3, "warmup_ratio": 0.05} | more
    )
    made = cls().apply([source], config, context(dataset, said))
    seconds = time.perf_counter() - began
    after = next(v["value"] for kind, v in said if kind == "metric" and v["name"] == "eval_loss")
    before = {"base": round(_base_loss(source, dataset), 4)} if name == "LoRA" else {}
    if name == "QLoRA":  # trained on four bits; what comes out is an adapter of the base in full
        before = {"on four bits": round(after, 4)}
        after = _base_loss(made, dataset)
    return before | {"after": round(after, 4), "seconds": round(seconds, 1)}


def four_bits(model: str, data: str, whole: list[str]) -> Any:
    """Before any training: the base as QLoRA holds it, all of it or all but some layers."""
    import torch

    from olive_like.passes._models import load_config
    from olive_like.passes.finetune import _qlora

    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    dataset = prepare(source, source=str(Path(data, "alpaca_en_demo.json")), max_seq_len=512, eval_fraction=0.04)
    kept = _qlora.kept_whole(whole, load_config(source), "text-generation", False) if whole else None
    settings = _qlora.quantization(load("QLoRA").Config(), getattr(torch, dtype()["name"]), kept)
    return {"loss": round(_base_loss(source, dataset, quantization_config=settings), 4)}


def _base_loss(source: Artifact, dataset: Any, **options: Any) -> float:
    import torch

    from olive_like.data._tokenized import read
    from olive_like.passes._models import load_model

    model = load_model(source, **options)
    total, items = 0.0, 0
    with torch.no_grad():
        for record in read(dataset, "eval"):
            one = _padded([record])
            count = int((one["labels"][:, 1:] != -100).sum())
            total, items = total + float(model(**one).loss) * count, items + count
    return total / items


def _reviews(model: str, data: str) -> tuple[HfModel, Any, Any]:
    source = HfModel(Path(model), {}, digest="c")
    rows = [json.loads(line) for line in Path(data, "movie_reviews.jsonl").read_text("utf-8").splitlines()]
    train, held = (prepare(source, rows=part, max_seq_len=128) for part in (rows[:1500], rows[1500:2000]))
    return source, train, held


def reviews_ours(model: str, data: str, epochs: int) -> Any:
    source, train, held = _reviews(model, data)
    cls, said = load("LoRA"), []
    settings = {**RANK, "num_train_epochs": epochs, "batch_size": 32, "learning_rate": 1e-3, "save_steps": 10_000}
    config = cls.Config.model_validate(
        settings | {"train_data_config": "d", "eval_data_config": "e", "eval_strategy": "epoch", "eval_batch_size": 32}
    )
    import peft  # noqa: F401 - importing is measured elsewhere
    import transformers.trainer  # noqa: F401

    began = time.perf_counter()
    cls().apply([source], config, context(train, said, held))
    found = {v["name"]: v["value"] for kind, v in said if kind == "metric"}
    return {"accuracy": round(found["eval_accuracy"], 4), "seconds": round(time.perf_counter() - began, 2)}


def reviews_plain(model: str, data: str, epochs: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup, set_seed

    from olive_like.data._tokenized import read
    from olive_like.passes.finetune._device import bf16_is_fast

    _, train, held = _reviews(model, data)
    torch.set_num_threads(threads())
    began = time.perf_counter()
    set_seed(0)
    dtype = torch.bfloat16 if bf16_is_fast("cpu") else torch.float32
    base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2, dtype=dtype)
    tuned = get_peft_model(
        base, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["query", "value"], task_type="SEQ_CLS")
    ).train()
    trained = [p for p in tuned.parameters() if p.requires_grad]
    records, size = read(train), 32
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, epochs * -(-len(records) // size))

    def batch(some: list[dict[str, Any]]) -> Any:
        padded = _padded([r | {"labels": [0] * len(r["input_ids"])} for r in some])
        return padded | {"labels": torch.tensor([r["label"] for r in some])}

    def accuracy() -> float:
        tuned.eval()
        right = 0
        with torch.no_grad():
            for at in range(0, len(held_records), size):
                one = batch(held_records[at : at + size])
                right += int((tuned(**one).logits.argmax(-1) == one["labels"]).sum())
        tuned.train()
        return right / len(held_records)

    held_records = read(held)
    found = 0.0
    for _ in range(epochs):
        order = torch.randperm(len(records)).tolist()
        for at in range(0, len(order), size):
            tuned(**batch([records[i] for i in order[at : at + size]])).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        found = accuracy()
    return {"accuracy": round(found, 4), "seconds": round(time.perf_counter() - began, 2)}


def merged(model: str, data: str) -> Any:
    import torch

    from olive_like.passes._models import load_model, load_tokenizer

    wide = Path(tempfile.mkdtemp())  # the base in float32: rounding to bfloat16 would hide what merging does
    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    load_model(source, dtype="float32").save_pretrained(wide)
    load_tokenizer(source).save_pretrained(wide)
    base = HfModel(wide, {"task": "text-generation"}, digest="w")
    dataset = prepare(base, source=str(Path(data, "alpaca_en_demo.json")), max_seq_len=256, max_samples=16)
    cls = load("LoRA")
    config = cls.Config.model_validate(
        {**RANK, "max_steps": 3, "batch_size": 4, "learning_rate": 1e-3, "train_data_config": "d"}
    )
    adapters = [cls().apply([base], config, context(dataset)) for _ in range(2)]
    weights = [(a.path / "adapter_model.safetensors").read_bytes() for a in adapters]
    whole = load("MergeAdapterWeights")
    result = whole().apply([adapters[0]], whole.Config(), context())
    first = adapters[0]
    assert isinstance(first, Adapter)
    encoded = load_tokenizer(first)("What is machine learning, and why does it matter?", return_tensors="pt")
    with torch.no_grad():
        logits = [load_model(a, dtype="float32")(**encoded).logits for a in (first, result)]
    return {"largest difference": float((logits[0] - logits[1]).abs().max()), "same bytes": weights[0] == weights[1]}


def peak(name: str, model: str, data: str, batch: int, rows: str = "alpaca_en_demo.json", **settings: Any) -> Any:
    source = HfModel(Path(model), {"task": "text-generation"}, digest="m")
    file = {"source": str(Path(data, rows)), "max_seq_len": 512, "max_samples": 4 * batch}
    cls = load(name)
    extra = {} if name == "FullFinetune" else RANK
    config = cls.Config.model_validate(
        {**extra, **settings, "max_steps": 4, "batch_size": batch, "train_data_config": file}
    )
    estimate = cls.memory_estimate([source], config) or 0
    cls().apply([source], config, context(prepare(source, **file)))
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"estimate_mib": estimate >> 20, "measured_mib": measured >> 20, "ratio": round(estimate / measured, 2)}


if __name__ == "__main__":
    began = time.perf_counter()
    answer = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    answer.setdefault("seconds", round(time.perf_counter() - began, 1))
    Path(sys.argv[3]).write_text(json.dumps(answer), "utf-8")
