"""transformers' Trainer, with our losses, order of examples, watchfulness and event log."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune._objectives import Batch, Objective, Record
from olive_like.passes.finetune._resume import Ranks, drop_after

_GROUP = 50  # batches among which lengths are matched
_DIVERGED_AFTER = 10  # steps in a row
_OVERFIT_AFTER = 3  # evaluations in a row


class EpochOrder(Sampler[int]):
    """A new order for each epoch, fixed by seed and epoch alone, so that a resumed run sees the same."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, grouped: bool) -> None:
        self._lengths, self._batch, self._seed, self._grouped = lengths, batch, seed, grouped
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        if not self._grouped:
            return iter(order)
        size = self._batch * _GROUP
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            group = sorted(order[start : start + size], key=lambda i: -self._lengths[i])
            batches += [group[at : at + self._batch] for at in range(0, len(group), self._batch)]
        short = [batch for batch in batches if len(batch) < self._batch]
        full = [batch for batch in batches if len(batch) == self._batch]
        mixed = [full[i] for i in torch.randperm(len(full), generator=generator).tolist()]
        return iter([i for batch in [*mixed, *short] for i in batch])


class StepLosses(TrainerCallback, ExportableState):
    """The loss of every step, kept in checkpoints: the history of a resumed run is that of an undisturbed one."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.ranks: Sequence[int | None] = ()
        self.batches: Sequence[int] = ()
        self._step: Any = 0.0

    def add(self, loss: torch.Tensor) -> None:
        """One batch's share of the step's loss."""
        self._step = self._step + loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.world_size > 1 and torch.is_tensor(self._step):
            # Each rank's share stands for a part of the step's items: their mean is the step's loss.
            torch.distributed.all_reduce(self._step)
            self._step = self._step / args.world_size
        self.losses.append(self._step)
        self.ranks = Ranks.of(args)  # each time: a resumed run starts with what the checkpoint says
        self.batches = (args.per_device_train_batch_size, args.gradient_accumulation_steps)
        self._step = 0.0

    def mean(self, start: int, stop: int) -> float:
        """Mean of steps start to stop; on a GPU this is where the numbers are fetched."""
        self.losses[start:stop] = [float(loss) for loss in self.losses[start:stop]]
        return sum(self.losses[start:stop]) / max(1, stop - start)

    def state(self) -> dict[str, Any]:
        losses = [float(loss) for loss in self.losses]
        return {"args": {}, "attributes": {"losses": losses, "ranks": list(self.ranks), "batches": list(self.batches)}}


class OliveTrainer(Trainer):
    """Trainer on objectives: every loss is a sum, divided by the items of the whole step."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        objective: Objective,
        context: Context,
        *,
        autocast: torch.dtype | None,
        order_seed: int,
        grouped: bool,
        **settings: Any,
    ) -> None:
        super().__init__(data_collator=objective.collate, **settings)
        self.objective, self.context = objective, context
        self._autocast = autocast
        self.began_at: int | None = 0  # step to go on from, until the first checkpoint is saved
        self._order_seed, self._grouped = order_seed, grouped and objective.padded
        self.trained_tokens = 0
        self.busy_seconds = 0.0
        self._watch = _LossWatch(context, objective.user)
        self.add_callback(_Reporter(self))
        self.add_callback(StepLosses())

    # order

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [self.objective.length(record) for record in self.train_dataset]
        # What ranks take in turn, and one rank in several batches, is together what one with batches as large would.
        size = self.args.train_batch_size * max(1, self.args.world_size) * self.args.gradient_accumulation_steps
        self.order = EpochOrder(lengths, size, self._order_seed, self._grouped)
        return self.order

    # what the settings name

    def create_optimizer(self, *arguments: Any) -> Any:
        try:
            return super().create_optimizer(*arguments)
        except (ImportError, TypeError, ValueError) as error:
            raise PassError(
                f"the optimizer {self.args.optim.value} cannot be made: {str(error).splitlines()[0]}",
                "`adamw_torch` needs no other package; `optim_args` has the others' arguments.",
            ) from error

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        try:
            return super().create_scheduler(num_training_steps, optimizer)
        except (TypeError, ValueError) as error:
            raise PassError(
                f"the schedule {self.args.lr_scheduler_type.value} cannot be made: {str(error).splitlines()[0]}",
                "Its arguments stand in `lr_scheduler_kwargs`.",
            ) from error

    # checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.began_at is not None:  # not before there is something better
            if self.is_world_process_zero():
                drop_after(self.context.scratch, self.began_at)
            self.accelerator.wait_for_everyone()
            self.began_at = None
        super()._save_checkpoint(model, trial)

    # loss

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Any:
        count = torch.tensor(sum(self.objective.items(batch) for batch in batch_samples), device=device)
        if self.args.world_size > 1:
            count = self.accelerator.gather(count).sum() / self.args.world_size
        return count

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        with self._precision():
            total, _ = self.objective.loss(model, inputs)
        return total / num_items_in_batch

    def _precision(self) -> Any:
        kind = self.args.device.type
        return torch.autocast(kind, self._autocast or torch.bfloat16, enabled=self._autocast is not None)

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.args.device.type == "cpu":  # elsewhere asking for the value would stall the device at every step
            self._watch.check_finite(loss, self.state.global_step + 1, self.args)
        self.step_losses().add(loss)
        self.trained_tokens += self.objective.tokens(inputs)
        return loss

    def step_losses(self) -> StepLosses:
        """Found anew each time: resuming puts another in its place."""
        return next(one for one in self.callback_handler.callbacks if isinstance(one, StepLosses))

    def history(self) -> list[dict[str, float]]:
        """The course of the losses, at steps that no setting of logging or saving moves."""
        every = max(1, round(self.state.max_steps / 50))
        losses = self.step_losses()
        total = len(losses.losses)
        found = [
            {"step": min(at + every, total), "loss": losses.mean(at, min(at + every, total))}
            for at in range(0, total, every)
        ]
        evaluations = [
            {k: v for k, v in entry.items() if k == "step" or k.startswith("eval_")}
            for entry in self.state.log_history
            if "eval_loss" in entry
        ]
        return sorted([*found, *evaluations], key=lambda entry: (entry["step"], "eval_loss" in entry))

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # Trainer's estimate is for padded batches

    # evaluation

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """The mean loss of all items, not the mean of the batches' means."""
        records: Sequence[Record] = eval_dataset if eval_dataset is not None else self.eval_dataset
        metrics = {f"{metric_key_prefix}_{k}": v for k, v in self.mean_loss(records).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def mean_loss(self, records: Sequence[Record]) -> dict[str, float]:
        """Loss and what else the objective counts, over all records."""
        order = sorted(range(len(records)), key=lambda i: -self.objective.length(records[i]))
        rank, world = self.args.process_index, self.args.world_size
        size = self.args.per_device_eval_batch_size
        batches = [[records[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
        while len(batches) % world:
            batches.append([])
        model = self.model_wrapped if world > 1 or self.is_deepspeed_enabled else self.model
        was_training = model.training
        model.eval()
        sums: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for index in range(rank, len(batches), world):
                # Every rank calls the model equally often: sharded models gather their weights together.
                batch = self._prepare_inputs(self.objective.collate(batches[index] or batches[0]))
                with self._precision():
                    loss, others = self.objective.loss(model, batch)
                share = 1.0 if batches[index] else 0.0
                for name, value in {"loss": loss, "items": self.objective.items(batch), **others}.items():
                    number = torch.as_tensor(value, dtype=torch.float64, device=self.args.device) * share
                    sums[name] = sums.get(name, torch.zeros_like(number)) + number
        model.train(was_training)
        if world > 1:
            sums = {name: self.accelerator.gather(value).sum() for name, value in sums.items()}
        items = max(float(sums.pop("items")), 1.0)
        return {name: float(value) / items for name, value in sums.items()}

    # what the run says

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        if "train_runtime" in logs or not self.is_world_process_zero():
            return
        values = {name: float(value) for name, value in logs.items() if isinstance(value, (int, float))}
        values["memory"] = float(psutil.Process().memory_info().rss)
        if self.busy_seconds:
            values["tokens"] = float(self.trained_tokens)
            values["tokens_per_second"] = self.trained_tokens * self.args.world_size / self.busy_seconds
        self.context.progress(self.state.global_step, self.state.max_steps, **values)
        self._watch.see(values, self.state.global_step, self.args)


class _Reporter(TrainerCallback):
    """Tells the order of examples which epoch it is, and takes the time of the steps alone."""

    def __init__(self, trainer: OliveTrainer) -> None:
        self._trainer = trainer
        self._began = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.busy_seconds += time.perf_counter() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.began_at = state.global_step
        if state.best_model_checkpoint:  # the folder may have been another key's when this was written
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.order.epoch = int((state.epoch or 0) + 1e-6)


class _LossWatch:
    """Stops what has gone wrong, and says when a model learns its examples by heart."""

    def __init__(self, context: Context, user: Any) -> None:
        self._context = context
        self._user = user  # a loss of the user's own
        self._best_train = math.inf
        self._high = 0
        self._train: list[float] = []
        self._eval: list[float] = []
        self._overfit_said = False

    def check_finite(self, loss: torch.Tensor, step: int, args: Any) -> None:
        if not math.isfinite(float(loss)):
            raise PassError(f"the loss became {float(loss)} at step {step}", _likely_cause(args, self._user))

    def see(self, values: dict[str, float], step: int, args: Any) -> None:
        if "loss" in values:
            self._see_train(values["loss"], step, args)
        if "eval_loss" in values:
            self._see_eval(values["eval_loss"], step)

    def _see_train(self, loss: float, step: int, args: Any) -> None:
        if not math.isfinite(loss):
            raise PassError(f"the loss became {loss} at or before step {step}", _likely_cause(args, self._user))
        self._train.append(loss)
        self._best_train = min(self._best_train, loss)
        # Random guessing never costs much more than the start: three times the best and rising is no noise.
        self._high = self._high + 1 if loss > max(3 * self._best_train, self._best_train + 3) else 0
        if self._high >= max(3, _DIVERGED_AFTER // max(1, int(args.logging_steps))):
            raise PassError(
                f"the loss diverges: {loss:.3g} at step {step}, after {self._best_train:.3g} at its best",
                _likely_cause(args, self._user),
            )

    def _see_eval(self, loss: float, step: int) -> None:
        self._eval.append(loss)
        last = self._eval[-_OVERFIT_AFTER - 1 :]
        rising = len(last) > _OVERFIT_AFTER and all(a < b for a, b in itertools.pairwise(last))
        falling = len(self._train) > 1 and self._train[-1] < self._train[0]
        if rising and falling and not self._overfit_said:
            self._overfit_said = True
            self._context.warn(
                f"over-fitting: up to step {step} the evaluation loss rose {_OVERFIT_AFTER} times in a row "
                f"({last[0]:.4g} to {last[-1]:.4g}) while the training loss fell; train fewer steps, with more data, "
                "more dropout or weight decay, or with `early_stopping`"
            )


def _likely_cause(args: Any, user: Any) -> str:
    causes = [f"the learning rate of {args.learning_rate:g} is too high: try a tenth"]
    if args.fp16:
        causes.insert(0, "float16 overflows where bfloat16 does not: set `torch_dtype: bfloat16`")
    if not args.max_grad_norm:
        causes.append("gradients are not clipped: set `max_grad_norm: 1`")
    if not (args.warmup_steps or 0):
        causes.append("there is no warm-up: set `warmup_ratio: 0.05`")
    if user is not None:
        causes.insert(0, f"your loss {user.settings.name} gives it: divisions by zero, logarithms and roots of zero")
    return "Likely: " + "; or ".join(causes) + "."
