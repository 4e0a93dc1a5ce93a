"""Speech written down: how well, by the texts, and how fast, by the length of the sound."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from olive_like.errors import PassError
from olive_like.metrics import _scores
from olive_like.metrics.catalog import GENERATED, SPEECH
from olive_like.metrics.statistics import ratio
from olive_like.passes.base import Context
from olive_like.passes.measure._runtimes import Arrays, Runtime, stop_tokens
from olive_like.passes.measure._sounds import Recording, Sounds

_LONGEST = 444  # tokens of a piece: what Whisper has places for, less its prompt

Found = dict[str, tuple[float, float | None]]
Names = Mapping[str, Mapping[str, Any]]


def measure(names: Names, sounds: Sounds, runtime: Runtime, context: Context) -> Found:
    """Values of the texts, and `rtfx`: seconds of sound that a second of work writes down."""
    wrong = [name for name in names if name not in (*GENERATED, *SPEECH)]
    if wrong:
        raise PassError(
            f"{wrong[0]} cannot be measured on recordings", f"There are: {', '.join((*SPEECH, *GENERATED))}."
        )
    writer = _Writer(sounds, runtime, max((int(n.get("max_new_tokens", 0)) for n in names.values()), default=0))
    wanted, made, times = [], [], []
    for number, recording in enumerate(sounds.recordings(), 1):
        if number == 1 and "rtfx" in names:
            writer.write(recording)  # to warm up
        begun = time.perf_counter()
        text = writer.write(recording)
        times.append((recording.seconds, time.perf_counter() - begun))
        made.append(text)
        wanted.append(recording.text)
        context.progress(number, sounds.total)
    found: Found = {}
    for name, settings in names.items():
        if name == "rtfx":
            found[name] = ratio(times)
            continue
        plain = _plain(settings.get("normalizer", "basic"))
        found[name] = _scores.texts(name, [plain(text) for text in wanted], [plain(text) for text in made])
    return found


class _Writer:
    """A model that writes down what it hears, told once what its text begins with."""

    def __init__(self, sounds: Sounds, runtime: Runtime, new_tokens: int) -> None:
        self._sounds, self._runtime = sounds, runtime
        self._stop = stop_tokens(sounds.folder, sounds.tokenizer)
        file = sounds.folder / "generation_config.json"
        self._said: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        places = sounds.config.get("max_target_positions") or _LONGEST
        self._new_tokens = new_tokens or min(_LONGEST, int(places) - 4)

    def write(self, recording: Recording) -> str:
        """The text of a recording."""
        parts = []
        for features in self._sounds.features(recording):
            prompt = self._prompt(features)
            tokens = self._runtime.generate(prompt, self._new_tokens, self._stop, features)
            parts.append(self._sounds.tokenizer.decode(tokens, skip_special_tokens=True).strip())
        return " ".join(parts)

    def _prompt(self, features: Arrays) -> list[int]:
        """Begin; of a model of many languages which one, as it hears itself, and to write, not translate; no times."""
        start = self._said.get("decoder_start_token_id", self._sounds.config.get("decoder_start_token_id"))
        if start is None:
            raise PassError("the model's config names no decoder_start_token_id", "A speech model needs it.")
        prompt = [int(start)]
        languages = self._said.get("lang_to_id") or {}
        if languages:
            heard = self._runtime.generate(prompt, 1, (), features)[0]
            prompt.append(heard if heard in languages.values() else int(languages.get("<|en|>", heard)))
            prompt += [int(token) for name, token in self._said.get("task_to_id", {}).items() if name == "transcribe"]
        without_times = self._said.get("no_timestamps_token_id")
        return [*prompt, int(without_times)] if without_times is not None else prompt


def _plain(name: str) -> Callable[[str], str]:
    """What is done to both texts before they are compared."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    match name:
        case "none":
            return str
        case "basic":
            return lambda text: " ".join(BasicTextNormalizer()(text).split())
        case "english":
            return lambda text: " ".join(EnglishTextNormalizer({})(text).split())
    raise PassError(f"there is no normalizer {name!r}", "Use basic, english or none.")
