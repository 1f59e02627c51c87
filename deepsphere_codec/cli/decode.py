"""The verb `decode`, which decodes a .dsc file to a film."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deepsphere_codec.cli.arguments import size_argument, usable_device
from deepsphere_codec.cli.options import STANDARD, add_coding_options, add_verb
from deepsphere_codec.cli.output import Result, print_notes
from deepsphere_codec.runtime.progress import progress_bar

if TYPE_CHECKING:
    from deepsphere_codec.cli.options import Verbs


def add_decode(verbs: Verbs) -> None:
    """Add the verb to the program's parser."""
    decode = add_verb(verbs, "decode", _decode, "Decode a .dsc file.")
    decode.add_argument("input", metavar="INPUT.dsc", help=f"{STANDARD} reads standard input")
    decode.add_argument(
        "--keep-going", action="store_true", help="go past damages: fill what is lost, name it, and end with code 3"
    )
    decode.add_argument("output", metavar="OUTPUT", help=".mkv (lossless), .mp4, .y4m, or a folder for PNG frames")
    decode.add_argument(
        "--size", type=size_argument, metavar="WxH", help="size of the decoded frames, 2:1 (the source's)"
    )
    add_coding_options(decode, "a model's name or its folder (the one the stream names)")


def _decode(args: argparse.Namespace) -> Result:
    from deepsphere_codec.films import decode_to_file

    with progress_bar("decode") as on_progress:
        report = decode_to_file(
            sys.stdin.buffer if args.input == STANDARD else args.input,
            args.output,
            frames=args.frames,
            size=args.size,
            force=args.force,
            keep_going=args.keep_going,
            model=args.model,
            device=usable_device(args.device),
            threads=args.threads,
            workers=args.workers,
            cluster=args.cluster,
            on_progress=on_progress,
        )
    print_notes("note", report.notes)
    print_notes("damaged", report.damages)
    values = report._asdict() | {"damages": list(report.damages)}
    omitted = {"notes"} if args.keep_going else {"notes", "filled", "damages"}
    return {key: value for key, value in values.items() if key not in omitted}
