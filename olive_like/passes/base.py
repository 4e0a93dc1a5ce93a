"""What a pass is: a typed, versioned, pure step from input artifacts and settings to one artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from olive_like.artifacts import Artifact, Dataset
from olive_like.errors import PassError, PromiseBroken

T = TypeVar("T")


class PassConfig(BaseModel):
    """Settings of a pass: typed, documented, and nothing unknown accepted."""

    # defer_build: settings of a pass that is looked at but not used need not be built.
    # Numbers are finite: NaN and infinity have no place in a key.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, values: Any) -> Any:
        """To pydantic true is 1: as text it is refused where a number is meant, with its place."""
        if not isinstance(values, dict) or not any(isinstance(value, bool) for value in values.values()):
            return values
        numbers = _numbers(cls)
        return {
            name: str(value).lower() if isinstance(value, bool) and name in numbers else value
            for name, value in values.items()
        }


@cache
def _numbers(config: type[PassConfig]) -> frozenset[str]:
    """The names of settings that are numbers and nothing else, null aside."""
    found: set[str] = set()
    for name, info in config.model_fields.items():
        allowed = set(get_args(info.annotation) or (info.annotation,))
        if allowed & {int, float} and allowed <= {int, float, type(None)}:
            found |= {name, *getattr(info.validation_alias, "choices", (info.validation_alias or name,))}
    return frozenset(found)


class Effect(Enum):
    """What a pass promises to do to its input; checked after every run."""

    ANY = "any"
    SHRINKS = "shrinks"  # the output has fewer bytes than the input, or the pass failed


def _nothing(*_: Any, **__: Any) -> None: ...


@dataclass
class Context:
    """What a running pass has besides its inputs and settings."""

    output: Path  # an empty folder: the artifact goes here and nowhere else
    scratch: Path  # survives an interruption, gone after success: checkpoints go here
    seed: int = 0
    device: str = "cpu"  # "cpu" or "cuda"
    threads: int = 1
    rank: int = 0
    world_size: int = 1
    launch: Mapping[str, Any] = field(default_factory=dict)  # what the system says: deepspeed settings, …
    data: Mapping[str, Dataset] = field(default_factory=dict)  # field name -> prepared data set
    emit: Callable[[str, Mapping[str, Any]], None] = _nothing
    memory: Callable[[str, Callable[[], Any]], Any] = lambda _, load: load()

    def progress(self, step: int, total: int | None = None, **values: float) -> None:
        """Say how far the work is; `values` (loss, rate …) are shown beside it and kept in the run's log."""
        self.emit("progress", {"step": step, "total": total, **values})

    def metric(self, name: str, value: float) -> None:
        """A number for the summary table."""
        self.emit("metric", {"name": name, "value": value})

    def note(self, text: str) -> None:
        """A choice made for the user, said in the summary."""
        self.emit("note", {"text": text})

    def warn(self, text: str) -> None:
        """Something the user should look at, said at once and in the summary."""
        self.emit("warning", {"text": text})

    def loaded(self, name: str, load: Callable[[], T]) -> T:
        """What `load` returns, kept in the worker's memory for a later pass that asks by the same name.

        The name must contain the digest of what is loaded and all that changes how. The value is shared:
        whoever changes it must load it without this.
        """
        value: T = self.memory(name, load)
        return value

    def keep(self, name: str, value: Any) -> None:
        """Offer a value just made to later passes, under the name that they will ask for.

        The digest of this pass's own result is not known yet: the path of `output` stands for it in the name,
        as in `context.keep(f"model:{context.output}", model)` for `loaded(f"model:{artifact.digest}", …)`.
        """
        self.memory(name, lambda: value)


class Pass:
    """Base of all passes. A subclass is a few class variables, a Config and `run`."""

    accepts: ClassVar[type[Artifact] | tuple[type[Artifact], ...]] = Artifact
    """Kinds of input. A tuple means any of them."""
    produces: ClassVar[type[Artifact] | None] = Artifact
    """Kind of the output; None: the kind of the first input."""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """Fewest and most inputs. At (1, 1) `run` gets the artifact, otherwise a list of them."""
    version: ClassVar[int] = 1
    """Raised whenever the same inputs and settings would give other bytes."""
    tools: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version can change the result ("torch", "onnxruntime" …); they must be installed."""
    optional_tools: ClassVar[tuple[str, ...]] = ()
    """Distributions that are used where they are installed: whether they are, and their version, can too."""
    seeded: ClassVar[bool] = True
    """Whether the workflow's seed can change the result."""
    traits: ClassVar[tuple[str, ...]] = ("device", "world_size")
    """Traits of the system that can change the result; empty for a pass without numerics."""
    reads: ClassVar[tuple[str, ...] | None] = None
    """Globs of the input's files that the pass looks at, if not all (a tokeniser's, say)."""
    data_pass: ClassVar[str | None] = None
    """The pass that prepares this one's data sets, each in a node of its own; None: read inside the pass."""
    data_field: ClassVar[str | None] = None
    """The setting that takes the workflow's data set when it has exactly one and names none."""
    distributed: ClassVar[bool] = False
    """Whether the pass can run as several ranks."""
    measures: ClassVar[bool] = False
    """Whether the pass takes times, and so must run alone on its system."""
    effect: ClassVar[Effect] = Effect.ANY

    Config: ClassVar[type[PassConfig]] = PassConfig

    def run(self, model: Any, config: Any, context: Context) -> Artifact:
        """Write the artifact into `context.output` and return it."""
        raise NotImplementedError

    @classmethod
    def available(cls) -> bool:
        """Whether the pass can run: a class without `run` only declares its settings."""
        return cls.run is not Pass.run

    @classmethod
    def tools_for(cls, config: PassConfig) -> tuple[str, ...]:
        """The tools that these settings need; more than `tools` where an option brings another library."""
        return cls.tools

    @classmethod
    def alone(cls, config: PassConfig) -> bool:
        """Whether a run with these settings takes times, and so must have its system to itself."""
        return cls.measures

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        """What is wrong with these settings for these inputs, found before anything runs."""
        return []

    @classmethod
    def checkpoints_stand_on(cls, config: PassConfig, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The key's document less what checkpoints do not depend on; None: they depend on all of it.

        A pass goes on from what an interrupted one left in its scratch folder where the two agree in this. Their
        folders may share files: the pass adds and removes files there, but changes none.
        """
        return None

    @classmethod
    def misfit(cls, config: PassConfig, launch: Mapping[str, Any]) -> tuple[str, str] | None:
        """Why the pass cannot run as ranks that are launched with these options, and what to do."""
        return None

    @classmethod
    def memory_estimate(cls, inputs: Sequence[Artifact], config: PassConfig) -> int | None:
        """Peak bytes of memory that a run will need, where it can be told from headers."""
        return None

    def apply(self, inputs: Sequence[Artifact], config: PassConfig, context: Context) -> Artifact:
        """Run the pass and hold it to what its class declares."""
        name = type(self).__name__
        self._check_inputs(inputs)
        before = [_signature(artifact.path) for artifact in inputs]
        result = self.run(inputs[0] if self.arity == (1, 1) else list(inputs), config, context)
        wanted = self.produces or type(inputs[0])
        if not isinstance(result, wanted):
            raise PromiseBroken(f"{name} returned {_kind_name(result)} where it declares {wanted.kind}")
        if result.path != context.output:
            raise PromiseBroken(f"{name} returned an artifact outside of context.output")
        if context.rank == 0 and not any(context.output.iterdir()):
            raise PromiseBroken(f"{name} returned an empty artifact")
        for artifact, old in zip(inputs, before, strict=True):
            if _signature(artifact.path) != old:
                raise PassError(
                    f"the input {artifact.path} was changed while {name} ran",
                    "The result is not kept. Run again when nothing else writes there.",
                )
        if self.effect is Effect.SHRINKS and context.rank == 0:
            _check_smaller(name, inputs[0], result)
        return result

    def _check_inputs(self, inputs: Sequence[Artifact]) -> None:
        least, most = self.arity
        if len(inputs) < least or (most is not None and len(inputs) > most):
            raise PassError(f"{type(self).__name__} takes {arity_words(self.arity)}, not {len(inputs)}")
        for artifact in inputs:
            if not isinstance(artifact, self.accepts):
                raise PassError(f"{type(self).__name__} takes {kind_words(self.accepts)}, not {artifact.kind}")


def arity_words(arity: tuple[int, int | None]) -> str:
    """`(1, 1)` as a person says it."""
    least, most = arity
    if least == most:
        return f"{least} input{'' if least == 1 else 's'}"
    return f"{least} or more inputs" if most is None else f"{least} to {most} inputs"


def kind_words(accepts: type[Artifact] | tuple[type[Artifact], ...]) -> str:
    """Kinds as a person says them."""
    kinds = accepts if isinstance(accepts, tuple) else (accepts,)
    return " or ".join("anything" if kind is Artifact else kind.kind for kind in kinds)


def _kind_name(value: object) -> str:
    return value.kind if isinstance(value, Artifact) else type(value).__name__


def _signature(path: Path) -> list[tuple[str, int, int, int]]:
    """What changes when somebody writes below a path, at the cost of a stat per file."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p), (s := p.stat()).st_size, s.st_mtime_ns, s.st_ctime_ns) for p in files]


def _size(path: Path) -> int:
    return sum(entry[1] for entry in _signature(path))


def _check_smaller(name: str, before: Artifact, after: Artifact) -> None:
    old, new = _size(before.path), _size(after.path)
    if new >= old:
        raise PassError(
            f"{name} made the model no smaller: {old:,} bytes before, {new:,} after",
            "Every layer may have been excluded, or the model may be quantised already.",
        )
