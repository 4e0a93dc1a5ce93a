"""Tasks of lm-evaluation-harness, asked of any model that gives logits or writes text."""

from __future__ import annotations

from typing import Any

import lm_eval as harness
import numpy as np
from lm_eval.api.model import TemplateLM

from olive_like.artifacts import Artifact
from olive_like.errors import PassError
from olive_like.metrics.config import Metric
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import config_folder, config_of
from olive_like.passes.measure._runtimes import Runtime, logits_of_tokens, stop_tokens

_LONGEST = 2048
_NEW_TOKENS = 256


def lm_eval(
    metric: Metric, model: Artifact, runtime: Runtime, context: Context
) -> dict[str, tuple[float, float | None]]:
    """Every value that the harness gives for the tasks, with its standard error: `task.value`."""
    if not metric.tasks:
        raise PassError(f"{metric.name} names no task", "Write `tasks: [hellaswag]`.")
    quiet()
    asked = _Asked(model, runtime, context)
    limit = metric.limit
    try:
        result = harness.simple_evaluate(
            model=asked,
            tasks=list(metric.tasks),
            num_fewshot=metric.num_fewshot,
            limit=int(limit) if limit and limit >= 1 else limit,
            random_seed=context.seed,
            numpy_random_seed=context.seed,
            torch_random_seed=context.seed,
            fewshot_random_seed=context.seed,
            **metric.task_settings.model_dump(),
            log_samples=False,
        )
    except (KeyError, ValueError, FileNotFoundError) as error:
        raise PassError(
            f"lm-evaluation-harness cannot do {', '.join(map(_name, metric.tasks))}: {error}",
            "`lm_eval ls tasks` lists them; their data come from the hub, or from the files that they name.",
        ) from error
    found: dict[str, tuple[float, float | None]] = {}
    for task, values in result["results"].items():
        for name, value in values.items():
            kind, _, how = name.partition(",")
            if isinstance(value, (int, float)) and not kind.endswith("_stderr"):
                error_ = values.get(f"{kind}_stderr,{how}")
                found[f"{task}.{kind}"] = float(value), error_ if isinstance(error_, float) else None
    return found


def _name(task: str | dict[str, Any]) -> str:
    return task if isinstance(task, str) else str(task.get("task", "a task without a name"))


class _Asked(TemplateLM):
    """A runtime as the harness wants it."""

    def __init__(self, model: Artifact, runtime: Runtime, context: Context) -> None:
        super().__init__()
        self._runtime, self._context = runtime, context
        self.tokenizer = load_tokenizer(model)
        self._stop = stop_tokens(config_folder(model), self.tokenizer)
        self._longest = min(_LONGEST, int(config_of(model).get("max_position_embeddings") or _LONGEST))

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: Any = False) -> str:
        return str(self.tokenizer.chat_template or "")

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return rendered

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        return list(self.tokenizer(string, add_special_tokens=bool(add_special_tokens))["input_ids"])

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, **_: Any) -> list[tuple[float, bool]]:
        found = []
        for number, (_names, context, continuation) in enumerate(requests, 1):
            ids = [*(context or [self.eot_token_id]), *continuation][-self._longest :]
            found.append(self._likelihood(ids, min(len(continuation), len(ids) - 1)))
            self._context.progress(number, len(requests))
        return found

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        found = []
        for number, request in enumerate(requests, 1):
            ids = self.tok_encode(request.args[0])
            total, step = 0.0, self._longest - 1
            for start in range(0, len(ids), step):
                piece = ids[start : start + step]
                before = ids[start - 1] if start else self.eot_token_id
                total += self._likelihood([before, *piece], len(piece))[0]
            found.append(total)
            self._context.progress(number, len(requests))
        return found

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        found = []
        for number, request in enumerate(requests, 1):
            prompt, settings = request.args
            until = settings.get("until") or []
            new = int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or _NEW_TOKENS)
            ids = self.tok_encode(prompt)[-max(self._longest - new, self._longest // 2) :]
            new = min(new, self._longest - len(ids))
            made = [token for token in self._runtime.generate(ids, new, self._stop) if token not in self._stop]
            text = str(self.tokenizer.decode(made, skip_special_tokens=True))
            for end in [until] if isinstance(until, str) else until:
                text = text.split(end)[0] if end else text
            found.append(text)
            self._context.progress(number, len(requests))
        return found

    def _likelihood(self, ids: list[int], wanted: int) -> tuple[float, bool]:
        """Log likelihood of the last tokens, and whether each was the likeliest."""
        batch = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        scores = logits_of_tokens(self._runtime.answer(batch), len(ids))[0, -wanted - 1 : -1].astype(np.float64)
        peak = scores.max(-1, keepdims=True)
        normal = peak[:, 0] + np.log(np.exp(scores - peak).sum(-1))
        targets = np.array(ids[-wanted:])
        likelihood = scores[np.arange(wanted), targets] - normal
        return float(likelihood.sum()), bool((scores.argmax(-1) == targets).all())
