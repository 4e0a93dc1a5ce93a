"""From a search to files: what was tried, the front, the best workflow, and its outputs."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from olive_like.engine.cancel import CancelHandle, Interrupted
from olive_like.engine.prepare import Request, execute
from olive_like.engine.runner import Finished
from olive_like.errors import OliveLikeError
from olive_like.search.search import STUDY, Search, search, search_id
from olive_like.store import Store
from olive_like.workflow.moving import moved
from olive_like.workflow.read import read
from olive_like.workflow.schema import Workflow

BEST = "best.yaml"


def run_search(
    workflow: Workflow,
    store: Store,
    request: Request,
    warnings: list[str],
    on_event: Callable[[dict[str, Any]], None] | None,
    cancel: CancelHandle,
) -> tuple[Finished, Search]:
    """Search, then run the best workflow, all of whose passes are there, to deliver its outputs."""
    folder = (store.over or store).layout.searches / search_id(workflow)
    quiet = replace(request, output_dir=None, lock=False, locked=False, fail_fast=False)
    found = search(workflow, store, quiet, on_event, cancel, folder)
    if found.workflow is None and found.interrupted:
        raise Interrupted(cancel.reason)
    if found.workflow is None:
        raise _nothing(found)
    best = read(found.workflow, base_dir=workflow.base_dir).require()
    finished = execute(best, store, request, warnings, on_event, cancel, said=workflow.warnings)
    base = request.output_dir or workflow.resolve(workflow.output_dir or "outputs")
    write_files(found, finished.execution.log.folder, workflow.base_dir)
    if (folder / STUDY).is_file():
        shutil.copyfile(folder / STUDY, finished.execution.log.folder / STUDY)
    if finished.outputs:
        write_files(found, base, workflow.base_dir)
    return finished, found


def write_files(found: Search, folder: Path, base_dir: Path) -> None:
    """`search.json`, `trials.csv` and the best workflow as an ordinary file, its paths as seen from there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "search.json").write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    dimensions = list(dict.fromkeys(name for trial in found.trials for name in trial.point))
    values = list(dict.fromkeys(name for trial in found.trials for name in trial.values))
    with (folder / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "status", "pareto", *dimensions, *values])
        for trial in found.trials:
            row = [trial.number, trial.status, int(trial.number in found.front)]
            writer.writerow([*row, *map(trial.point.get, dimensions), *map(trial.values.get, values)])
    if found.workflow is not None:
        import yaml

        text = yaml.safe_dump(moved(found.workflow, base_dir, folder), sort_keys=False, allow_unicode=True, width=110)
        (folder / BEST).write_text(text, encoding="utf-8")


def _nothing(found: Search) -> OliveLikeError:
    if not found.trials:
        return OliveLikeError("the space has no point to try")
    first = found.trials[0]
    kinds = ("failed", "pruned", "infeasible")
    counts = {status: sum(trial.status == status for trial in found.trials) for status in kinds}
    told = " and ".join(f"{count} {status}" for status, count in counts.items() if count)
    return OliveLikeError(
        f"none of {len(found.trials)} candidates will do: {told}", f"The first: {'; '.join(first.why) or first.status}."
    )
