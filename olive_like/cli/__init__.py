"""The command line: finds the command's module and nothing else."""

from __future__ import annotations

import io
import sys

# name -> (module, one line of help). A module is imported only when its command is called.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("olive_like.cli.run", "run a workflow"),
    "finetune": ("olive_like.cli.finetune", "train an adapter, or the whole model, on a data set"),
    "optimize": ("olive_like.cli.optimize", "choose the passes for a model and a device, and run them"),
    "auto-opt": ("olive_like.cli.optimize", "the same as optimize"),
    "quantize": ("olive_like.cli.quantize", "quantise a Hugging Face or ONNX model"),
    "capture-onnx-graph": ("olive_like.cli.capture_onnx_graph", "convert a model to ONNX"),
    "run-pass": ("olive_like.cli.run_pass", "run one pass on one model"),
    "generate-adapter": ("olive_like.cli.generate_adapter", "several adapters over one base as one ONNX model"),
    "extract-adapters": ("olive_like.cli.extract_adapters", "the adapters inside a checkpoint, each as a file"),
    "convert-adapters": ("olive_like.cli.convert_adapters", "a peft adapter as a file for an ONNX model"),
    "tune-session-params": ("olive_like.cli.tune_session_params", "find the fastest session settings of an ONNX model"),
    "benchmark": ("olive_like.cli.benchmark", "measure a model"),
    "chat": ("olive_like.cli.chat", "talk to a model"),
    "init": ("olive_like.cli.init", "write a first workflow"),
    "workflows": ("olive_like.cli.workflows", "the ready-made workflows"),
    "plan": ("olive_like.cli.plan", "show what a run would do, and why"),
    "check": ("olive_like.cli.check", "check a workflow without running it"),
    "explain": ("olive_like.cli.explain", "say why a pass would run, or what a diagnostic code means"),
    "diff": ("olive_like.cli.diff", "compare two runs field by field"),
    "passes": ("olive_like.cli.passes", "list the passes, or describe one"),
    "systems": ("olive_like.cli.systems", "list the systems, or describe one"),
    "doctor": ("olive_like.cli.doctor", "show what this machine has, and which systems work on it"),
    "schema": ("olive_like.cli.schema", "print the JSON Schema of workflow files"),
    "cache": ("olive_like.cli.cache", "look into the cache, verify it, make room"),
    "runs": ("olive_like.cli.runs", "list runs, or show one"),
    "data": ("olive_like.cli.data", "check a data file, or show what a model will see of it"),
    "report": ("olive_like.cli.report", "draw a run as one HTML file"),
    "logs": ("olive_like.cli.logs", "show the log of a pass of a run"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from olive_like import __version__

        print(f"olive-like {__version__}")
        return 0
    ending: list[int] = []
    if argv is None:
        import gc

        _end_quickly(ending)

        # Importing makes a hundred thousand objects that stay: looking through them again and again
        # for garbage is a tenth of the time that `check` takes.
        gc.set_threshold(1_000_000, 20, 20)
        for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 gets "?" for a "→", not a traceback
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    from olive_like.cli.dispatch import dispatch

    ending.append(dispatch(arguments[0], arguments[1:]))
    return ending[0]


def _end_quickly(ending: list[int]) -> None:
    """When all is said and done, spare taking a hundred thousand objects apart, which takes as long as `plan`."""
    import atexit
    import os

    def leave() -> None:
        if ending:  # otherwise something was raised, and Python tells it in its own way
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    ending[0] = ending[0] or 1  # nobody listens any more
            os._exit(ending[0])

    # What is registered first is called last: after what the libraries have to do at the end.
    atexit.register(leave)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them is a tenth of the start


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: olive-like COMMAND [options]",
            "",
            "make for models: run declarative, cached pipelines that fine-tune, shrink and ship models",
            "",
            "commands:",
            *lines,
            "",
            "olive-like COMMAND --help describes a command; --version prints the version.",
        ]
    )
