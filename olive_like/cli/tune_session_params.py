"""`olive-like tune-session-params`: find the fastest onnxruntime session settings for a model."""

from __future__ import annotations

import argparse
from typing import Any

from olive_like.cli import carry_out, flags, sections
from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser, adapter=False)
    group = parser.add_argument_group("what to try")
    group.add_argument("--cpu-cores", type=int, metavar="N", help="cores to use at most")
    flags.switch(group, "--io-bind", help="keep inputs and outputs on the device")
    flags.switch(group, "--enable-cuda-graph", help="capture CUDA graphs")
    for name in ("--execution-mode-list", "--opt-level-list", "--intra-thread-num-list", "--inter-thread-num-list"):
        group.add_argument(name, type=int, nargs="+", metavar="N")
    group.add_argument("--providers-list", nargs="+", metavar="PROVIDER")
    group.add_argument("--extra-session-config", metavar="JSON")
    for name in (
        "--trt-fp16-enable",
        "--disable-force-evaluate-other-eps",
        "--enable-profiling",
        "--predict-with-kv-cache",
    ):
        flags.switch(group, name, help=argparse.SUPPRESS)
    flags.device(parser)
    flags.output(parser, "tuned-inference-settings")


def execute(args: argparse.Namespace) -> int:
    return carry_out.carry_out(workflow(args), args)


def workflow(args: argparse.Namespace) -> dict[str, Any]:
    """The workflow for the flags."""
    step: dict[str, Any] = {"type": "OrtSessionParamsTuning"}
    for name in ("cpu_cores", "io_bind", "enable_cuda_graph", "execution_mode_list", "opt_level_list",
                 "intra_thread_num_list", "inter_thread_num_list", "providers_list"):  # fmt: skip
        if getattr(args, name):
            step[name] = getattr(args, name)
    if args.extra_session_config:
        step["extra_session_config"] = _settings(args.extra_session_config)
    model = sections.input_model(args)
    return {"input_model": model, **sections.system(args), "passes": {"tune": step}, "layout": "olive"}


def _settings(text: str) -> dict[str, Any]:
    import json

    try:
        settings = json.loads(text)
    except ValueError as error:
        raise WorkflowError(f"--extra_session_config is not JSON: {error}", "Quote it as one word.") from None
    if not isinstance(settings, dict):
        raise WorkflowError("--extra_session_config is a mapping of settings", 'Write \'{"name": "value"}\'.')
    return settings
