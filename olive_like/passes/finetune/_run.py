"""One training from start to artifact."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

from olive_like.artifacts import Adapter, Artifact, HfModel
from olive_like.errors import PassError
from olive_like.passes._models import attach_adapter, load_config, load_model, load_tokenizer, quiet, torch_dtype
from olive_like.passes.base import Context
from olive_like.passes.finetune import _attention, _objectives, _ranks, _resume, _save, _trackers
from olive_like.passes.finetune._arguments import arguments, deepspeed_settings, spared_import
from olive_like.passes.finetune._build import check_names, spelt_out, with_adapter
from olive_like.passes.finetune._device import compute_dtype
from olive_like.passes.finetune._objectives import Objective
from olive_like.passes.finetune._out_of_memory import is_out_of_memory, words
from olive_like.passes.finetune._preference import Preferences
from olive_like.passes.finetune._records import read_records
from olive_like.passes.finetune._trainer import OliveTrainer
from olive_like.passes.finetune._user_loss import LoadedLoss
from olive_like.passes.finetune.misfits import stage
from olive_like.passes.finetune.settings import TrainingSettings, never_reached
from olive_like.passes.tasks import normal, read_config

_TASK_OF_DATA = {
    "lm": "text-generation",
    "classification": "text-classification",
    "regression": "text-classification",
    "token_classification": "token-classification",
    "seq2seq": "text2text-generation",
    "question_answering": "question-answering",
    "preference": "text-generation",
}


def train(method: str, source: HfModel | Adapter, config: TrainingSettings, context: Context) -> Artifact:
    """Train, and write the artifact into the output folder."""
    quiet()
    if context.threads > 1 or context.device == "cpu":
        torch.set_num_threads(context.threads)
    batch = config.per_device_train_batch_size
    accumulation = config.gradient_accumulation_steps
    while True:
        try:
            with spared_import(config, context):
                return Training(method, source, config, context, batch, accumulation).run()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if not config.auto_batch or batch == 1 or context.world_size > 1:
                raise PassError(*words(method, source, config, batch)) from error
        gc.collect()  # the failed training holds itself by reference cycles
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
        self.records, self.held_out, self.facts = read_records(context)
        self.loss = LoadedLoss(config.loss) if config.loss else None
        self.task = self._task()
        self.settings = load_config(source)

    def run(self) -> Artifact:
        """Everything in its order; the seed is set before anything random is made."""
        set_seed(self.seed)
        self.dtype = compute_dtype(self.config, self.context)
        # Before the model is loaded: DeepSpeed's third stage splits the weights while they come in.
        deepspeed = deepspeed_settings(self.config, self.context)
        deepspeed = _ranks.begin(self.method, self.config, self.context, deepspeed)
        checkpoint, deepspeed = _resume.start(self.config, self.context, deepspeed, (self.batch, self.accumulation))
        self.arguments = arguments(
            self.config,
            self.context,
            batch=self.batch,
            accumulation=self.accumulation,
            steps=self._steps(),
            evaluates=bool(self.held_out),
            dtype=self.dtype,
            deepspeed=deepspeed,
        )
        for text in never_reached(self.config, self._steps(), bool(self.held_out)):
            self.context.warn(text)
        self.tokenizer = load_tokenizer(self.source)
        self._complete_tokenizer()
        packed = (
            self.facts["kind"] in ("lm", "preference")
            and _attention.supports(self.settings)
            and self._attention() is None
        )
        if self.facts.get("packed") and not packed:
            raise PassError(
                f"packed data cannot be trained on {self.settings.model_type} without mixing up the examples",
                "Set `packing: false` in the data config.",
            )
        model = self._model(packed)
        objective = self._objective(packed)
        initial = self._keep_initial(model)
        if isinstance(objective, Preferences):
            self._remember(objective, model, stage(deepspeed))
        _ranks.same_numbers(model, self.dtype, deepspeed)
        trainer = self._trainer(model, objective)
        with _trackers.recording(self.arguments.report_to):
            told = trainer.train(resume_from_checkpoint=checkpoint)
        if checkpoint is None:
            self.context.metric("samples_per_second", told.metrics["train_samples_per_second"])
        return self._finish(trainer, model, initial)

    def _remember(self, objective: Preferences, model: Any, stage: int | None) -> None:
        """The reference is the model as it is now: asked once, for the pairs that will be used."""
        needed = self._steps() * self.batch * self.accumulation * max(1, self.context.world_size)
        if needed < len(self.records):
            chosen = torch.randperm(len(self.records), generator=torch.Generator().manual_seed(self.seed))[:needed]
            self.records = [self.records[i] for i in sorted(chosen.tolist())]
        if stage != 3:
            model.to(self.arguments.device)
        kind = next(model.parameters()).device  # at stage 3 a rank's card has room for its share alone
        half = self.dtype is not torch.float32

        def precision() -> Any:
            return torch.autocast(kind.type, self.dtype if half else torch.bfloat16, enabled=half)

        for records in (self.records, self.held_out):
            own = records[self.context.rank :: self.context.world_size]
            objective.remember(model, own, self.batch, str(kind), precision)
            _ranks.exchange(records, "reference", self.context)

    # what to train

    def _task(self) -> str:
        by_data = _TASK_OF_DATA[self.facts["kind"]]
        if self.loss is not None and self.loss.compares:
            if "first_text" not in self.records[0]:
                raise PassError(
                    f"{self.loss.settings.name} compares two texts, the rows have one",
                    "Columns: sentence1, sentence2 and label; or name them with `input_cols` and `label_cols`.",
                )
            return "feature-extraction"
        said = self.config.task or self.source.task
        if said is None:
            return by_data
        task = normal(said)
        if task != by_data and not (task == "feature-extraction" and self.config.task is None):
            hint = f"Set `task: {by_data}` in the pass, or say in the data config what the rows are with `shape`."
            if self.facts["kind"] == "preference":
                hint = "Preference pairs teach models that go on with a text by themselves."
            raise PassError(f"the data are for {by_data}, the task is {task}", hint)
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
        base_artifact = self.source.base if isinstance(self.source, Adapter) else self.source
        four_bits = self.method in ("qlora", "loftq")
        self._check_stored(base_artifact, four_bits)
        if four_bits:
            from olive_like.passes.finetune import _qlora

            names = getattr(self.config, "skip_modules", None)
            trust = bool(base_artifact.load_kwargs.get("trust_remote_code", False))
            whole = _qlora.kept_whole(names, self.settings, self.task, trust) if names else None
            options["quantization_config"] = _qlora.quantization(self.config, self.dtype, whole)
        with _ranks.loading(self.method, self.config, self.arguments):
            base = load_model(
                base_artifact, self.task, weights, attention=attention, new_head=self.task in _HEADED, **options
            )
        base.config.use_cache = False
        base.config.pad_token_id = self.tokenizer.pad_token_id
        self._check_lengths()
        if four_bits:
            _qlora.prepare(base)
        elif not self.arguments.deepspeed:
            base.to(self.arguments.device)
        if self.config.gradient_checkpointing:
            base.enable_input_require_grads()
        if full:
            return base
        if self.method == "bottleneck":
            return self._bottleneck(base)
        model = with_adapter(base, self.method, self.source, self.config, self.task, self.context)
        if self.method == "loftq" and not self._goes_on():
            from olive_like.passes.finetune import _loftq

            _loftq.start(model, base_artifact.path, getattr(self.config, "loftq_iter", 1))
        return model

    def _check_stored(self, base: HfModel, four_bits: bool) -> None:
        """What becomes of a base that is stored quantised."""
        stored = (read_config(base.path).get("quantization_config") or {}).get("quant_method")
        if four_bits and stored not in (None, "bitsandbytes"):  # whose 4 bits are taken as they are
            raise PassError(
                f"{self.method} quantises the base, and {base.path} is quantised already ({stored})",
                "Train on the model that it was made of; or take LoRA, which trains on these weights.",
            )
        if stored == "gptq":
            self.context.note("the base is in GPTQ's format: its weights are widened in memory to train on them")

    def _goes_on(self) -> bool:
        """Whether there is an adapter to go on from."""
        return self.config.init_adapter is not None or isinstance(self.source, Adapter)

    def _bottleneck(self, base: Any) -> Any:
        from olive_like.passes.finetune import _bottleneck

        start = self.config.init_adapter or (self.source.path if isinstance(self.source, Adapter) else None)
        if start is not None:
            return attach_adapter(base, start)
        config: Any = self.config
        heads = [name for name in ("classifier", "score", "qa_outputs") if self.task in _HEADED and hasattr(base, name)]
        whole = list(config.modules_to_save or []) + heads
        for field in ("target_modules", "modules_to_save"):
            check_names(base, getattr(config, field) or [], field)
        targets = spelt_out(base, config.target_modules or []) or _bottleneck.default_targets(base)
        return _bottleneck.add(base, config.size, config.activation, targets, whole)

    def _head(self) -> dict[str, Any]:
        """The classes of a new head, or those of the model where they are the data's."""
        if self.task not in ("text-classification", "token-classification"):
            return {}
        if self.facts["kind"] == "regression":
            if self.settings.num_labels != 1:
                self.context.note("a new head for one number")
            return {"num_labels": 1, "problem_type": "regression", "ignore_mismatched_sizes": True}
        names = list(self.facts["labels"])
        if len(names) == 1:
            raise PassError(
                f"all rows have the label {names[0]!r}: there is nothing to tell apart",
                "Bring rows of other classes, or name those there may be with `labels` in the data config.",
            )
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
        pad_to = self.facts["max_seq_len"] if self.facts.get("padding") == "max_length" else None
        common: dict[str, Any] = {
            "pad_id": self.tokenizer.pad_token_id,
            "smoothing": self.config.label_smoothing_factor,
            "pad_to": pad_to,
            "user": self.loss,
        }
        kind = self.facts["kind"]
        if self.method == "dpo" and kind != "preference":
            raise PassError(
                f"DPO trains on preference pairs, the data are {kind}", "Columns: prompt, chosen, rejected."
            )
        if kind == "lm":
            return _objectives.PackedLanguage(**common) if packed else _objectives.PaddedLanguage(**common)
        if self.task == "feature-extraction":
            return _objectives.Comparison(**common)
        if kind in ("classification", "regression"):
            if kind == "regression" and self.config.label_smoothing_factor:
                raise PassError(
                    "`label_smoothing_factor` smooths classes, and the data have numbers to be learnt", "Leave it out."
                )
            return _objectives.Classes(**common, regression=kind == "regression")
        if kind == "token_classification":
            return _objectives.TokenClasses(**common)
        if kind == "seq2seq":
            return _objectives.Seq2Seq(**common)
        if kind == "question_answering":
            return _objectives.Answers(**common)
        if kind == "preference" and self.method == "dpo":
            config: Any = self.config
            return Preferences(packed, config.beta, config.loss_type, config.label_smoothing, **common)
        raise PassError(f"{self.method} does not train on {kind} data", "Preference pairs are for the pass `DPO`.")

    def _steps(self) -> int:
        if self.config.max_steps > 0:
            return self.config.max_steps
        world = max(1, self.context.world_size)
        batches = math.ceil(len(self.records) / (self.batch * world))
        return max(1, math.ceil(self.config.num_train_epochs * math.ceil(batches / self.accumulation)))

    def _trainer(self, model: Any, objective: Objective) -> OliveTrainer:
        callbacks: list[Any] = []
        if self.config.early_stopping:
            stop = self.config.early_stopping
            callbacks.append(EarlyStoppingCallback(stop.patience, stop.min_delta))
        data_seed = self.config.data_seed if self.config.data_seed is not None else self.seed
        autocast = self.dtype if self.dtype is torch.bfloat16 and not self.arguments.deepspeed else None
        trainer = OliveTrainer(
            objective,
            self.context,
            autocast=autocast,
            order_seed=data_seed,
            grouped=self.config.group_by_length,
            model=model,
            args=self.arguments,
            train_dataset=self.records,
            eval_dataset=self.held_out or None,
            processing_class=None,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    # what comes out

    def _keep_initial(self, model: Any) -> Path | None:
        """Some adapters start with a part of the base: without that part they are adapters of the untouched base."""
        start = str(getattr(self.config, "init_lora_weights", self.method))
        if self._goes_on() or not start.startswith(("pissa", "olora", "loftq")):
            return None
        folder = self.context.scratch / "initial"
        if self.context.rank == 0 and not (folder / "adapter_config.json").exists():
            settings = model.peft_config["default"]
            kept, settings.init_lora_weights = settings.init_lora_weights, True
            model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
            settings.init_lora_weights = kept
        return folder

    def _finish(self, trainer: OliveTrainer, model: Any, initial: Path | None) -> Artifact:
        history = trainer.history()
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
            tokens = trainer.trained_tokens * max(1, context.world_size)
            context.metric("tokens_per_second", tokens / trainer.busy_seconds)
        if trainer.state.global_step < trainer.state.max_steps:
            context.note(f"stopped early at step {trainer.state.global_step} of {trainer.state.max_steps}")
        adapter = self.method != "full"
        trained, parameters = _ranks.sizes(model)
        facts = {
            "task": self.task,
            "architecture": (self.settings.architectures or [self.settings.model_type])[0],
            "adapter": adapter,
            "dtype": str(self.dtype).removeprefix("torch."),
            "steps": trainer.state.global_step,
            "batch": self.batch,
            "accumulation": self.accumulation,
            "ranks": context.world_size,
            "trainable": trained,
            "parameters": parameters,
            "train_loss": losses[-1] if losses else None,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        }
        attributes: dict[str, Any] = {"task": self.task, "method": self.method}
        if self.facts.get("labels"):
            attributes["labels"] = list(self.facts["labels"])
        if self.facts["kind"] == "regression":
            attributes["num_labels"] = 1
        if getattr(self.config, "save_quant_config", False):
            attributes["quantization"] = {"type": getattr(self.config, "quant_type", "nf4"), "bits": 4}
            if getattr(self.config, "skip_modules", None):
                attributes["quantization"]["skip"] = sorted(self.config.skip_modules)
        state = _ranks.gathered(trainer, model, everything=not adapter)
        if context.rank == 0:
            if not adapter:
                self._save_full(model, state)
            elif self.method == "bottleneck":
                _bottleneck_save(model, context.output, state)
            else:
                _save.save_adapter(model, context.output, initial, state)
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

    def _save_full(self, model: Any, state: dict[str, torch.Tensor] | None) -> None:
        """The model, in the type that it came in unless another is asked for."""
        asked = torch_dtype(getattr(self.config, "save_dtype", "auto"))
        target = (getattr(self.settings, "dtype", None) or torch.float32) if isinstance(asked, str) else asked
        if state is None:
            model.to(target)
        else:
            state = {name: t.to(target) if t.is_floating_point() else t for name, t in state.items()}
        model.config.dtype = target
        model.config.use_cache = True
        model.save_pretrained(self.context.output, state_dict=state, safe_serialization=True)


_HEADED = ("text-classification", "token-classification", "question-answering")


def _bottleneck_save(model: Any, output: Path, state: dict[str, torch.Tensor] | None) -> None:
    from olive_like.passes.finetune import _bottleneck

    _bottleneck.save(model, output, state)
