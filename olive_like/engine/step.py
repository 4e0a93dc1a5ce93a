"""One node's way from a ready node to a result in the store: all that does not depend on where it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from olive_like.artifacts import Dataset, Metrics, from_json
from olive_like.canonical import digest
from olive_like.engine.answer import Failure, Stop, Success
from olive_like.engine.execution import Cause, Execution, NodeState, closure
from olive_like.engine.job import Job, target_of
from olive_like.engine.logs import append
from olive_like.engine.repro import write_bundle
from olive_like.errors import OliveLikeError, PassError
from olive_like.graph import keys
from olive_like.graph.model import SOURCE
from olive_like.store import Manifest, Record, seal
from olive_like.store.trouble import storing
from olive_like.systems.base import Launch


class Step:
    """The work on one node. `lock`, then `job`, then `publish` or `fail`, then `unlock`."""

    def __init__(self, execution: Execution, state: NodeState) -> None:
        self.execution = execution
        self.state = state
        self.log_path = execution.log.log_path(state.name)
        self._lock = execution.store.key_lock(state.key)
        self._job: Job | None = None

    def lock(self) -> bool:
        """Be the only one, of all processes, to work on this key; False if somebody else does."""
        return self._lock.try_acquire()

    def acquire(self) -> None:
        """The same, waiting for as long as it takes."""
        self._lock.acquire(self.waiting)

    def unlock(self) -> None:
        self._lock.release()

    def job(self, launch: Launch, devices: Sequence[str], keep: int = 0) -> Job:
        """What the worker is told. Each attempt gets a staging folder of its own."""
        self.discard()
        # An earlier attempt's, or of a result that was damaged.
        self.state.notes, self.state.warnings, self.state.metrics = [], [], {}
        node, store = self.state.plan.node, self.execution.store
        inputs = [self.execution.known(name) for name in node.inputs]
        data = {slot: self.execution.known(name) for slot, name in node.data.items()}
        self._job = Job(
            name=node.name,
            target=target_of(node.cls),
            config=node.config.model_dump(mode="json"),
            inputs=tuple(inputs),
            data={slot: artifact for slot, artifact in data.items() if isinstance(artifact, Dataset)},
            output=store.staging(self.state.key),
            scratch=store.scratch(self.state.key, self._family(launch)),
            seed=self.execution.seed,
            device="cuda" if any(device.startswith("cuda") for device in devices) else "cpu",
            threads=launch.threads,
            launch=launch.options,
            memory=keep,
        )
        return self._job

    def _family(self, launch: Launch) -> str:
        """What this key has in common with those whose checkpoints it can go on from."""
        if launch.apart:
            return ""
        node = self.state.plan.node
        common = node.cls.checkpoints_stand_on(node.config, self.state.document)
        return digest(common) if common else ""

    def started(self, slot: int = 0) -> None:
        node = self.state.plan.node
        self.execution.log.emit("started", node.name, key=self.state.key, system=node.system, slot=slot)
        self._watched("started", {})

    def waiting(self) -> None:
        self.execution.log.emit("waiting", self.state.name, why="the same work is being done elsewhere")

    def on_event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Something that the pass says while it runs."""
        state = self.state
        values = self.execution.log.redactor.data(values)
        match kind:
            case "metric":
                state.metrics[values["name"]] = values["value"]
            case "note":
                state.notes.append(values["text"])
            case "warning":
                (state.troubles if values.get("by") == "engine" else state.warnings).append(values["text"])
        self.execution.log.emit(kind, state.name, **values)
        self._watched(kind, values)

    def _watched(self, kind: str, values: Mapping[str, Any]) -> None:
        """Stop here if who watches the run has seen enough of this pass."""
        if self.execution.watch is None:
            return
        why = self.execution.watch(self.state.name, self.state.key, kind, values)
        if why is not None:
            raise Stop(why)

    def warn(self, text: str) -> None:
        self.on_event("warning", {"text": text, "by": "engine"})

    def publish(self, answer: Success) -> Failure | None:
        """Put what the worker sealed into the store; a failure if that cannot be."""
        state, execution = self.state, self.execution
        assert self._job is not None
        state.seconds = float(answer.resources["seconds"])
        state.peak_rss = int(answer.resources["peak_rss_bytes"])
        state.peak_gpu = answer.resources["peak_gpu_bytes"]
        try:
            manifest = self._manifest(answer)
            state.made_bytes = manifest.size
            self._check_files()
            if manifest.kind == Metrics.kind:
                state.metrics.update(execution.log.redactor.data(read_metrics(self._job.output)))
            state.artifact = execution.store.commit(
                state.key,
                self._job.output,
                manifest,
                self._record(answer),
                closure(self._job.inputs),
                replace=execution.asked_for(state),
            )
        except OliveLikeError as error:
            return Failure(error.message, error.hint)
        return None

    def finish(self) -> tuple[Path, str]:
        """Tell that it ran; where the result was made, and its digest."""
        assert self.state.artifact is not None
        assert self._job is not None
        output, self._job = self._job.output, None
        self.execution.ran(self.state, self.state.artifact)
        return output, str(self.state.artifact.digest)

    def fail(self, failure: Failure) -> None:
        """Tell that it failed, with all that helps to find out why."""
        log, job = self.execution.log, self._job
        self.discard()  # first: where the disk is full, this makes room for what is to be said
        cause = Cause(
            log.redactor.text(failure.message),
            log.redactor.text(failure.hint),
            log.redactor.text(failure.traceback),
            str(self.log_path),
        )
        with storing(self.log_path):
            append(self.log_path, failure.traceback or f"error: {failure.message}\n", log.redactor)
            if job is not None:
                cause.repro = str(write_bundle(log.folder, job, failure.message, log.redactor))
        self.execution.failed(self.state, cause)

    def discard(self) -> None:
        """Remove what an attempt left; its checkpoints stay."""
        if self._job is not None:
            self.execution.store.discard(self._job.output)
            self._job = None

    def _manifest(self, answer: Success) -> Manifest:
        if answer.manifest is not None:
            return Manifest.from_json(answer.manifest)
        assert answer.artifact is not None
        assert self._job is not None
        made = from_json(answer.artifact)
        refs = {name: str(ref.digest) for name, ref in made.refs.items()}
        return seal(self._job.output, made.kind, made.attributes, refs)

    def _record(self, answer: Success) -> Record:
        state, execution = self.state, self.execution
        return Record(
            key=state.key,
            document=execution.log.redactor.data(state.document),
            pass_name=state.plan.node.pass_name,
            node=state.name,
            workflow=execution.plan.planner.workflow,
            run_id=execution.log.run,
            created=time.time(),
            seconds=state.seconds,
            peak_rss=state.peak_rss,
            metrics=state.metrics,
            extra={
                "notes": state.notes,
                "warnings": state.warnings,
                "system": state.plan.node.system,
                "resources": dict(answer.resources),
            },
        )

    def _check_files(self) -> None:
        """What the key says of files must still hold, or the result belongs to another key."""
        node, execution = self.state.plan.node, self.execution
        now = keys.file_digests(node, execution.store.file_digest)
        changed = [name for name, was in self.state.document["files"].items() if now.get(name) != was]
        if keys.plugin_code(node.cls, execution.store.file_digest) != self.state.document["pass"]["code"]:
            changed.append(f"the code of {node.pass_name}")
        if SOURCE in node.inputs and execution.plan.planner.source_digest() != execution.known(SOURCE).digest:
            changed.append(SOURCE)
        if changed:
            raise PassError(
                f"{' and '.join(changed)} changed while {node.name} ran",
                "The result is not kept. Run again when nothing else writes there.",
            )


def read_metrics(folder: Path) -> dict[str, Any]:
    """What an evaluation measured, from its artifact."""
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PassError(f"the pass wrote a metrics.json that is no JSON: {error}") from error
    return document if isinstance(document, dict) else {}
