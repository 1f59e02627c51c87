"""Options shared by several verbs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deepsphere_codec.cli.arguments import frames_argument, positive_argument
from deepsphere_codec.cli.output import Result

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

STANDARD = "-"
"""Argument that stands for standard input or output."""


def add_verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], Result], summary: str
) -> argparse.ArgumentParser:
    """Add a verb with the options that all verbs have.

    Args:
        verbs: Subparsers of the program's parser.
        name: Name of the verb.
        run: Function that is called with the parsed arguments and returns the result to print.
        summary: A sentence for --help.
    Returns:
        The verb's own parser.
    """
    parser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_coding_options(parser: argparse.ArgumentParser, model: str) -> None:
    """Add the options that encode and decode share.

    Args:
        parser: Parser of the verb.
        model: Help text of --model.
    """
    parser.add_argument("--model", metavar="NAME|DIR", help=model)
    add_frames_option(parser, "half-open range of frames, counted from 0 (all)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=positive_argument, metavar="N", help="threads of each process (all)")
    parser.add_argument("--workers", type=positive_argument, default=1, metavar="N", help="processes, a GOP each (1)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="code on a Ray cluster instead, such as host:6379")
    parser.add_argument("--force", action="store_true", help="replace an existing OUTPUT")


def add_frames_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the option --frames.

    Args:
        parser: Parser of the verb.
        text: Help text.
    """
    parser.add_argument("--frames", type=frames_argument, metavar="A:B", help=text)
