"""`olive-like chat`: talk to a model, whatever form it has."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from olive_like.cli import flags
from olive_like.cli.silent import silent
from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder: Hugging Face, ONNX, or an adapter")
    parser.add_argument("prompt", nargs="?", help="one question; without it, questions are read until an empty line")
    parser.add_argument("--base", metavar="DIR", help="the model that an adapter stands on")
    parser.add_argument("--adapter", metavar="NAME", help="the adapter to switch on, in an ONNX model with several")
    parser.add_argument("--system", metavar="TEXT", help="how the model is to behave")
    parser.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="default: 128")
    flags.switch(parser, "--raw", help="continue the text as it is, without the chat template")


def execute(args: argparse.Namespace) -> int:
    if not Path(args.model).is_dir():
        raise WorkflowError(f"there is no folder {args.model}", "Name the folder of a model.")
    base = Path(args.base) if args.base else None
    with silent():
        from olive_like.passes.measure._chat import Chat

        chat = Chat(Path(args.model), base, args.system, args.max_new_tokens, args.raw, args.adapter)
    if args.prompt is not None:
        print(chat.answer(args.prompt))
        return 0
    tty = sys.stdin.isatty()
    if tty:
        print("Ask something; an empty line ends the talk.", file=sys.stderr)
    while True:
        try:
            line = input("> " if tty else "")
        except EOFError:
            return 0
        if not line.strip():
            return 0
        print(chat.answer(line))
