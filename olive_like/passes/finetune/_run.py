"""One training from start to artifact."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from olive_like.artifacts import Adapter, Artifact, HfModel
from olive_like.data._tokenized import read
from olive_like.errors import PassError
from olive_like.passes._models import load_config, load_model, load_tokenizer, quiet
from olive_like.passes.base import Context
from olive_like.passes.finetune import _attention, _objectives, _save
from olive_like.passes.finetune._build import with_adapter
from olive_like.passes.finetune._device import compute_dtype
from olive_like.passes.finetune._objectives import Objective, Record
from olive_like.passes.finetune._trainer import OliveTrainer
from olive_like.passes.finetune.settings import TrainingSettings
from olive_like.passes.tasks import normal

_TASK_OF_DATA = {
    "lm": "text-generation",
    "classification": "text-classification",
    "regression": "text-classification",
    "token_classification": "token-classification",
    "seq2seq": "text2text-generation",
    "question_answering": "question-answering",
    "preference": "text-generation",
}
_CHECKPOINT_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")


def train(method: str, source: HfModel | Adapter, config: TrainingSettings, context: Context) -> Artifact:
    """Train, and write the artifact into the output folder."""
    quiet()
    if context.threads > 1 or context.device == "cpu":
        torch.set_num_threads(context.threads)
    batch = config.per_device_train_batch_size
    accumulation = config.gradient_accumulation_steps
    while True:
        try:
            return Training(method, source, config, context, batch, accumulation).run()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if not config.auto_batch or batch == 1:
                raise PassError(*_memory_words(method, source, config, batch)) from error
        batch, accumulation = (batch + 1) // 2, accumulation * 2
        context.warn(f"out of memory: goes on with batches of {batch} and {accumulation} of them to a step")


class Training:
    """What belongs to one training."""

    def __init__(
        self,
        method: str,
        source: HfModel | Adapter,
        config: TrainingSettings,
        context: Context,
        batch: int,
        accumulation: int,
    ) -> None:
        self.method, self.source, self.config, self.context = method, source, config, context
        self.batch, self.accumulation = batch, accumulation
        self.seed = config.train_seed(context.seed)
        self.records, self.held_out, self.facts = _data(context)
        self.task = self._task()
        self.settings = load_config(source)

    def run(self) -> Artifact:
        """Everything in its order; the seed is set before anything random is made."""
        set_seed(self.seed)
        self.dtype = compute_dtype(self.config, self.context)
        self.tokenizer = load_tokenizer(self.source)
        self._complete_tokenizer()
        packed = self.facts["kind"] == "lm" and _attention.supports(self.settings) and self._attention() is None
        if self.facts.get("packed") and not packed:
            raise PassError(
                f"packed data cannot be trained on {self.settings.model_type} without mixing up the examples",
                "Set `packing: false` in the data config.",
            )
        model = self._model(packed)
        objective = self._objective(packed)
        initial = self._keep_initial(model)
        trainer = self._trainer(model, objective)
        trainer.train(resume_from_checkpoint=self._checkpoint())
        return self._finish(trainer, model, initial)

    # what to train

    def _task(self) -> str:
        by_data = _TASK_OF_DATA[self.facts["kind"]]
        said = self.config.task or self.source.task
        if said is None:
            return by_data
        task = normal(said)
        if task != by_data and not (task == "feature-extraction" and self.config.task is None):
            raise PassError(
                f"the data are for {by_data}, the task is {task}",
                f"Set `task: {by_data}` in the pass, or say in the data config what the rows are with `shape`.",
            )
        return by_data

    def _attention(self) -> str | None:
        asked = self.config.attn_implementation
        return None if asked == "auto" else asked

    def _complete_tokenizer(self) -> None:
        """Padding needs a token, and a chat a template: what is missing is chosen and said."""
        if self.tokenizer.pad_token_id is None:
            chosen = self.tokenizer.eos_token or self.tokenizer.unk_token
            if chosen is None:
                raise PassError("the tokenizer has neither a padding token nor an end token to pad with")
            self.tokenizer.pad_token = chosen
            self.context.note(f"the tokenizer has no padding token; {chosen} is used, and never trained on as padding")
        if self.facts.get("chat_template") and self.tokenizer.chat_template != self.facts["chat_template"]:
            self.tokenizer.chat_template = self.facts["chat_template"]

    def _model(self, packed: bool) -> Any:
        full = self.method == "full"
        weights = torch.float32 if full or self.dtype is torch.float16 else self.dtype
        _attention.register()
        attention = _attention.NAME if packed else self._attention() or "sdpa"
        options: dict[str, Any] = self._head()
        if self.method == "qlora":
            from olive_like.passes.finetune._qlora import quantization

            options["quantization_config"] = quantization(self.config, self.dtype)
        base_artifact = self.source.base if isinstance(self.source, Adapter) else self.source
        base = load_model(
            base_artifact, self.task, weights, attention=attention, new_head=self.task in _HEADED, **options
        )
        base.config.use_cache = False
        base.config.pad_token_id = self.tokenizer.pad_token_id
        self._check_lengths()
        if self.method == "qlora":
            from olive_like.passes.finetune._qlora import prepare

            prepare(base)
        else:
            base.to(self.context.device)
        if self.config.gradient_checkpointing:
            base.enable_input_require_grads()
        if full:
            return base
        return with_adapter(base, self.method, self.source, self.config, self.task, self.context)

    def _head(self) -> dict[str, Any]:
        """The classes of a new head, or those of the model where they are the data's."""
        if self.task not in ("text-classification", "token-classification"):
            return {}
        if self.facts["kind"] == "regression":
            return {"num_labels": 1, "problem_type": "regression"}
        names = list(self.facts["labels"])
        there = [str(self.settings.id2label[i]) for i in sorted(self.settings.id2label)]
        if set(there) == set(names):
            self._relabel(there)
            names = there
        elif len(there) != len(names):
            self.context.note(f"a new head for {len(names)} classes: {', '.join(names[:12])}")
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
            "ignore_mismatched_sizes": True,
        }

    def _relabel(self, names: list[str]) -> None:
        """Numbers of the data's classes become those of the model."""
        order = [names.index(name) for name in self.facts["labels"]]
        field = "label" if self.task == "text-classification" else "labels"
        for records in (self.records, self.held_out):
            for record in records:
                value = record[field]
                record[field] = order[value] if isinstance(value, int) else [order[v] if v >= 0 else v for v in value]
        self.facts = {**self.facts, "labels": names}

    def _check_lengths(self) -> None:
        """A model with learned positions has none beyond its last."""
        limit = getattr(self.settings, "max_position_embeddings", None) or getattr(self.settings, "n_positions", None)
        longest = max((s["max_seq_len"] for s in self.facts["splits"].values()), default=0)
        longest = min(longest, max(s["longest"] for s in self.facts["splits"].values()))
        if isinstance(limit, int) and longest > limit:
            raise PassError(
                f"examples of {longest:,} tokens do not fit the model's {limit:,} positions",
                f"Set `max_seq_len: {limit}` in the data config.",
            )

    # how to train

    def _objective(self, packed: bool) -> Objective:
        from olive_like.passes.finetune._user_loss import load_loss

        user = load_loss(self.config.loss) if self.config.loss else None
        pad_to = self.facts["max_seq_len"] if self.facts.get("padding") == "max_length" else None
        common: dict[str, Any] = {
            "pad_id": self.tokenizer.pad_token_id,
            "smoothing": self.config.label_smoothing_factor,
            "pad_to": pad_to,
            "user": user,
        }
        kind = self.facts["kind"]
        if kind == "lm":
            return _objectives.PackedLanguage(**common) if packed else _objectives.PaddedLanguage(**common)
        if kind in ("classification", "regression"):
            return _objectives.Classes(**common, regression=kind == "regression")
        if kind == "token_classification":
            return _objectives.TokenClasses(**common)
        if kind == "seq2seq":
            return _objectives.Seq2Seq(**common)
        if kind == "question_answering":
            return _objectives.Answers(**common)
        raise PassError(f"{self.method} does not train on {kind} data", "Preference pairs are for the pass `DPO`.")

    def _steps(self) -> int:
        if self.config.max_steps > 0:
            return self.config.max_steps
        world = max(1, self.context.world_size)
        batches = math.ceil(len(self.records) / (self.batch * world))
        return max(1, math.ceil(self.config.num_train_epochs * math.ceil(batches / self.accumulation)))

    def _trainer(self, model: Any, objective: Objective) -> OliveTrainer:
        arguments = self._arguments()
        callbacks: list[Any] = []
        if self.config.early_stopping:
            stop = self.config.early_stopping
            callbacks.append(EarlyStoppingCallback(stop.patience, stop.min_delta))
        data_seed = self.config.data_seed if self.config.data_seed is not None else self.seed
        autocast = self.dtype if self.dtype is torch.bfloat16 and not arguments.deepspeed else None
        trainer = OliveTrainer(
            objective,
            self.context,
            autocast=autocast,
            order_seed=data_seed,
            grouped=self.config.group_by_length,
            model=model,
            args=arguments,
            train_dataset=self.records,
            eval_dataset=self.held_out or None,
            processing_class=None,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _arguments(self) -> TrainingArguments:
        config = self.config
        steps = self._steps()
        best = bool(config.early_stopping) or config.load_best_model_at_end
        strategy = config.eval_strategy or ("steps" if self.held_out else "no")
        if not self.held_out:
            strategy = "no"
        every = max(1, round(steps / 10))
        eval_steps = config.eval_steps or every
        saving = strategy if best else "steps"
        warmup = config.warmup_steps or config.warmup_ratio
        deepspeed = self._deepspeed()
        return TrainingArguments(
            output_dir=str(self.context.scratch),
            per_device_train_batch_size=self.batch,
            per_device_eval_batch_size=config.per_device_eval_batch_size,
            gradient_accumulation_steps=self.accumulation,
            max_steps=config.max_steps,
            num_train_epochs=config.num_train_epochs,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.lr_scheduler_type,
            lr_scheduler_kwargs=dict(config.lr_scheduler_kwargs) or None,
            warmup_steps=warmup,
            weight_decay=config.weight_decay,
            optim=config.optim,
            optim_args=config.optim_args,
            adam_beta1=config.adam_beta1,
            adam_beta2=config.adam_beta2,
            adam_epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            neftune_noise_alpha=config.neftune_noise_alpha,
            bf16=bool(deepspeed) and self.dtype is torch.bfloat16,
            fp16=self.dtype is torch.float16,
            tf32=config.tf32 if self.context.device == "cuda" else None,
            **self._checkpointing(),
            torch_compile=config.torch_compile,
            logging_strategy="steps",
            logging_steps=config.logging_steps,
            logging_first_step=config.logging_first_step,
            logging_nan_inf_filter=False,
            eval_strategy=strategy,
            eval_steps=eval_steps if strategy == "steps" else None,
            save_strategy=saving,
            save_steps=eval_steps if best and strategy == "steps" else config.save_steps or every,
            save_total_limit=config.save_total_limit,
            load_best_model_at_end=best,
            metric_for_best_model="eval_loss" if best else None,
            greater_is_better=False if best else None,
            restore_callback_states_from_checkpoint=True,
            seed=self.seed,
            use_cpu=self.context.device == "cpu",
            dataloader_num_workers=config.dataloader_num_workers,
            dataloader_pin_memory=self.context.device == "cuda",
            remove_unused_columns=False,
            report_to=self._trackers(),
            run_name=config.run_name,
            disable_tqdm=True,
            log_level="error",
            ddp_timeout=config.ddp_timeout,
            ddp_find_unused_parameters=config.ddp_find_unused_parameters,
            deepspeed=deepspeed,
        )

    def _checkpointing(self) -> dict[str, Any]:
        """Recomputing activations, by the name that the installed transformers has for it."""
        if not self.config.gradient_checkpointing:
            return {}
        known = {field.name for field in dataclasses.fields(TrainingArguments)}
        name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
        return {name: True, f"{name}_kwargs": {"use_reentrant": False, **self.config.gradient_checkpointing_kwargs}}

    def _deepspeed(self) -> Any:
        """DeepSpeed's settings: the pass's own, else those that the system launches with."""
        own = self.config.deepspeed
        if isinstance(own, Path):
            return json.loads(own.read_text("utf-8"))
        return own or self.context.launch.get("deepspeed")

    def _trackers(self) -> list[str]:
        import importlib.util
        import os

        asked = self.config.report_to
        names = [name for name in ([asked] if isinstance(asked, str) else asked) if name not in ("none", "")]
        for name in names:
            package = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}.get(name)
            if package is None:
                raise PassError(f"report_to: {name!r} is not known", "Known: tensorboard, wandb, mlflow.")
            if importlib.util.find_spec(package) is None:
                raise PassError(f"report_to: {name} is not installed", f"pip install 'olive-like[{name}]'")
        if "tensorboard" in names:
            os.environ["TENSORBOARD_LOGGING_DIR"] = self.config.logging_dir or str(self.context.scratch / "logs")
        return names

    def _checkpoint(self) -> str | None:
        """The last whole checkpoint of an interrupted run; the state file is written last."""
        if not self.config.resume or not self.context.scratch.is_dir():
            return None
        found = sorted(self.context.scratch.glob("checkpoint-*"), key=lambda p: -int(p.name.rpartition("-")[2]))
        for folder in found:
            if self.context.launch.get("deepspeed") or all(_whole(folder / name) for name in _CHECKPOINT_FILES):
                self.context.note(f"goes on from step {folder.name.rpartition('-')[2]} of the interrupted run")
                return str(folder)
        return None

    # what comes out

    def _keep_initial(self, model: Any) -> Path | None:
        """PiSSA changes the base: what it took out is needed to write an adapter of the untouched base."""
        if self.method != "pissa" and not str(getattr(self.config, "init_lora_weights", "")).startswith(
            ("pissa", "olora")
        ):
            return None
        folder = self.context.scratch / "initial"
        if not (folder / "adapter_config.json").exists():
            settings = model.peft_config["default"]
            kept, settings.init_lora_weights = settings.init_lora_weights, True
            model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
            settings.init_lora_weights = kept
        return folder

    def _finish(self, trainer: OliveTrainer, model: Any, initial: Path | None) -> Artifact:
        history = [
            {k: v for k, v in entry.items() if not k.endswith(("runtime", "per_second"))}
            for entry in trainer.state.log_history
            if "train_runtime" not in entry
        ]
        losses = [entry["loss"] for entry in history if "loss" in entry]
        evals = [entry for entry in history if "eval_loss" in entry]
        context = self.context
        if losses:
            context.metric("train_loss", losses[-1])
        if evals:
            best = min(evals, key=lambda e: e["eval_loss"]) if trainer.args.load_best_model_at_end else evals[-1]
            for name in sorted(best):
                if name.startswith("eval_"):
                    context.metric(name, best[name])
        if trainer.busy_seconds:
            context.metric("tokens_per_second", trainer.trained_tokens / trainer.busy_seconds)
        if trainer.state.global_step < trainer.state.max_steps:
            context.note(f"stopped early at step {trainer.state.global_step} of {trainer.state.max_steps}")
        adapter = self.method != "full"
        facts = {
            "task": self.task,
            "architecture": (self.settings.architectures or [self.settings.model_type])[0],
            "adapter": adapter,
            "dtype": str(self.dtype).removeprefix("torch."),
            "steps": trainer.state.global_step,
            "batch": self.batch,
            "accumulation": self.accumulation,
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "parameters": sum(p.numel() for p in model.parameters()),
            "train_loss": losses[-1] if losses else None,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        }
        attributes: dict[str, Any] = {"task": self.task, "method": self.method}
        if self.facts.get("labels"):
            attributes["labels"] = list(self.facts["labels"])
        if self.facts["kind"] == "regression":
            attributes["num_labels"] = 1
        if self.method == "qlora" and getattr(self.config, "save_quant_config", False):
            attributes["quantization"] = {"type": getattr(self.config, "quant_type", "nf4"), "bits": 4}
        if trainer.is_deepspeed_enabled:
            trainer.save_model(str(context.output))  # every rank has a part to give
        if context.rank == 0:
            if not adapter:
                _save_full(trainer, model, context.output)
            elif not trainer.is_deepspeed_enabled:
                _save.save_adapter(model, context.output, initial)
            else:
                _save.clean_config(context.output)
                (context.output / "training_args.bin").unlink(missing_ok=True)
            _save.save_rest(
                context.output,
                self.tokenizer,
                self.method,
                self.config,
                history,
                dict(context.data),
                self.source,
                context,
                facts,
            )
        return _save.result(context.output, self.source, attributes, adapter)


_HEADED = ("text-classification", "token-classification", "question-answering")


def _save_full(trainer: OliveTrainer, model: Any, output: Path) -> None:
    if trainer.is_deepspeed_enabled:
        (output / "training_args.bin").unlink(missing_ok=True)
        return
    model.config.use_cache = True
    model.save_pretrained(output, safe_serialization=True)


def _data(context: Context) -> tuple[list[Record], list[Record], dict[str, Any]]:
    """Records to train on, records to evaluate on, and what the data say of themselves."""
    prepared = context.data.get("train_data_config")
    if prepared is None:
        raise PassError("there is nothing to train on", "Name a data set with `train_data_config`.")
    records = read(prepared, "train")
    held_out = read(prepared, "eval")
    facts = dict(prepared.attributes)
    other = context.data.get("eval_data_config")
    if other is not None:
        if other.attributes["kind"] != facts["kind"]:
            raise PassError(
                f"the training data are {facts['kind']}, the evaluation data {other.attributes['kind']}",
                "Say with `shape` what the rows of both are.",
            )
        held_out = _same_labels(read(other, "train"), list(other.attributes["labels"]), list(facts["labels"]))
    return records, held_out, facts


def _same_labels(records: list[Record], have: list[str], want: list[str]) -> list[Record]:
    """Each data set numbers its own classes: those of the training data hold."""
    unknown = [name for name in have if name not in want]
    if unknown:
        raise PassError(
            f"the evaluation data have the label {unknown[0]!r}, which the training data have not",
            f"Known: {', '.join(want)}. `labels` in the data config names all there may be.",
        )
    order = [want.index(name) for name in have]
    for record in records:
        if "label" in record and order:
            record["label"] = order[record["label"]]
        elif have:
            record["labels"] = [order[label] if label >= 0 else label for label in record["labels"]]
    return records


def _whole(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(w in str(error).lower() for w in words)


def _memory_words(method: str, source: Artifact, config: TrainingSettings, batch: int) -> tuple[str, str]:
    from olive_like.passes.finetune.memory import estimate

    need = estimate(method, source, config)
    said = f", the estimate was {need / 2**30:.1f} GiB" if need else ""
    helps = []
    if batch > 1:
        helps.append(f"`per_device_train_batch_size: {batch // 2}` with twice the accumulation (or `auto_batch: true`)")
    if not config.gradient_checkpointing:
        helps.append("`gradient_checkpointing: true`")
    helps.append("a smaller `max_seq_len` in the data config")
    if method in ("lora", "dora", "full") and len(helps) < 3:
        helps.append("the pass `QLoRA`" if method != "full" else "the pass `LoRA`")
    return f"out of memory at batches of {batch}{said}", "What would help most: " + "; ".join(helps[:3]) + "."
