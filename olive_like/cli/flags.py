"""Flags that the model commands share, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from olive_like.errors import WorkflowError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def spelled(arguments: list[str]) -> list[str]:
    """The arguments with `--a_b` written `--a-b`: both are taken everywhere."""
    result, names = [], True
    for argument in arguments:
        names = names and argument != "--"
        if names and argument.startswith("--"):
            name, sign, value = argument.partition("=")
            argument = "--" + name[2:].replace("_", "-") + sign + value
        result.append(argument)
    return result


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The arguments, or an error that names the nearest flag there is."""
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise unknown_flag(unknown[0], known_flags(parser))
    return args


def known_flags(parser: argparse.ArgumentParser) -> list[str]:
    """Every flag of a parser."""
    return [name for action in parser._actions for name in action.option_strings]


def unknown_flag(flag: str, known: Iterable[str]) -> WorkflowError:
    """The error for a flag that is not there."""
    from difflib import get_close_matches

    if not flag.startswith("-"):
        return WorkflowError(f"what is {flag!r}? It belongs to no flag", "Is a quote missing?")
    name = flag.partition("=")[0]
    words = {one.lstrip("-"): one for one in known}  # the dashes, which all have, say nothing of likeness
    near = get_close_matches(name.lstrip("-"), list(words), 1)
    return WorkflowError(f"there is no flag {name}", f"Did you mean {words[near[0]]}?" if near else "See --help.")


def switch(parser: argparse._ActionsContainer, *names: str, help: str) -> None:
    """A flag that is on when given, and may be followed by true or false."""
    parser.add_argument(*names, nargs="?", const=True, default=False, type=_boolean, metavar="BOOL", help=help)


def _boolean(text: str) -> bool:
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"takes true or false, not {text!r}")


def model(parser: argparse.ArgumentParser, *, adapter: bool = True, title: str = "model") -> None:
    """The input model."""
    group = parser.add_argument_group(title)
    group.add_argument("-m", "--model-name-or-path", metavar="MODEL", help="a local folder or file, or a hub name")
    group.add_argument("-t", "--task", help="what the model is for; default: from its config")
    switch(group, "--trust-remote-code", help="run code that comes with the model")
    group.add_argument("--model-script", metavar="FILE", help="Python file with a function that builds the model")
    group.add_argument("--script-dir", metavar="DIR", help="folder that the script imports from")
    switch(
        group,
        "--test",
        "--test-model",
        help="put a tiny model of the same architecture, with random weights, in its place, "
        "and results into DIR-test; with `run` also made-up data, and this machine's processor",
    )
    if adapter:
        group.add_argument("-a", "--adapter-path", metavar="DIR", help="a peft adapter over the model")


def data(parser: argparse.ArgumentParser) -> None:
    """A data set."""
    group = parser.add_argument_group("data")
    group.add_argument("-d", "--data-name", metavar="DATA", help="a local file or folder, or a hub name")
    group.add_argument("--data-files", metavar="FILES", help="files of the data set, with commas between")
    group.add_argument("--text-field", metavar="COLUMN", help="column with the text")
    group.add_argument("--text-template", metavar="TEXT", type=unescaped, help="text with {column} fields")
    switch(group, "--use-chat-template", help="use the tokenizer's chat template")
    group.add_argument("--max-seq-len", type=int, metavar="N", help="longest example in tokens")
    group.add_argument("--max-samples", type=int, metavar="N", help="use at most so many rows")
    switch(group, "--add-special-tokens", help="let the tokenizer add its begin and end markers")
    group.add_argument("--input-cols", metavar="COLUMNS", help="columns that go into the model, with commas between")
    group.add_argument("--label-cols", "--label-col", metavar="COLUMNS", help="columns to predict")
    group.add_argument("--columns", metavar="MEANING=COLUMN,…", help="which column means what: prompt=question")


def device(parser: argparse.ArgumentParser, default: str | None = "cpu") -> None:
    """Where to run, and for what."""
    group = parser.add_argument_group("device")
    group.add_argument("--device", choices=("cpu", "gpu", "npu"), default=default, help="what the model is for")
    group.add_argument("--provider", metavar="PROVIDER", help="onnxruntime's execution provider; default: the device's")
    group.add_argument("--memory", metavar="SIZE", help="memory of the device")


def output(parser: argparse.ArgumentParser, default: str) -> None:
    """Where the result goes, and how the command behaves."""
    group = parser.add_argument_group("run")
    group.add_argument("-o", "--output-path", metavar="DIR", default=default, help=f"default: {default}")
    group.add_argument("--cache-dir", metavar="DIR", help="the cache folder, in place of the default one")
    switch(group, "--dry-run", help="print the workflow and write it to the output folder, but do not run it")
    switch(group, "--save-config-file", help="write the workflow to the output folder as well")
    group.add_argument("--jobs", type=int, metavar="N", help="passes that may run side by side")
    group.add_argument("--seed", type=int, default=0, metavar="N")
    group.add_argument("--json", action="store_true", help="print one JSON document")
    accepted(group)
    for name in ("--account-name", "--container-name"):
        group.add_argument(name, help=argparse.SUPPRESS)


def accepted(parser: argparse._ActionsContainer) -> None:
    """Flags that people bring and that change nothing: a run's log has all, and nothing is sent anywhere."""
    parser.add_argument("--log-level", type=int, choices=range(5), default=3, help=argparse.SUPPRESS)
    switch(parser, "--disable-telemetry", help=argparse.SUPPRESS)


def unescaped(text: str) -> str:
    r"""A template from the shell, where `\n` is written out."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def listed(text: str | None) -> list[str] | None:
    """`a,b` as a list."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def pairs(text: str, flag: str) -> dict[str, Any]:
    """`a=1,b=2` as a mapping."""
    from olive_like.workflow.overrides import value_of

    parts = [part.partition("=") for part in listed(text) or ()]
    if not all(sign for _, sign, _ in parts):
        raise WorkflowError(f"{flag} {text} is not NAME=VALUE,NAME=VALUE")
    try:
        return {name.strip(): value_of(value) for name, _, value in parts}
    except ValueError as error:
        raise WorkflowError(f"{flag} {text}: {error}") from None


def required(value: str | None, flag: str) -> str:
    """The value of a flag that the command cannot do without."""
    if not value:
        raise WorkflowError(f"--{flag[2:].replace('-', '_')} is missing", "See --help.")
    return value
