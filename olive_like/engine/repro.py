"""What replays just one failed pass: the job, its settings, and how to start it."""

from __future__ import annotations

from pathlib import Path

from olive_like.engine.events import safe_name, write_json
from olive_like.engine.job import Job
from olive_like.redact import Redactor

_README = """\
The pass `{name}` failed:

    {message}

To run just this pass again, in one process, with its inputs as they were:

    python -m olive_like.engine.replay {folder}

It writes to `output/` here and leaves the cache alone. `job.json` has everything that the pass was told;
`config.json` has its settings: change them and replay. Secrets stand there as `${{NAME}}` and are taken
from the environment.
"""


def write_bundle(run_folder: Path, job: Job, message: str, redactor: Redactor) -> Path:
    """Write the bundle of a failed pass below its run and say where."""
    folder = run_folder / "repro" / safe_name(job.name)
    folder.mkdir(parents=True, exist_ok=True)
    document = redactor.data(job.to_json())
    write_json(folder / "config.json", document.pop("config"))
    write_json(folder / "job.json", document)
    text = _README.format(name=job.name, message=redactor.text(message), folder=folder)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder
