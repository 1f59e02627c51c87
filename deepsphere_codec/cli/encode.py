"""The verb `encode`, which encodes a film to a .dsc file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, BinaryIO

from deepsphere_codec.cli.arguments import usable_device
from deepsphere_codec.cli.options import STANDARD, add_coding_options, add_verb
from deepsphere_codec.cli.output import Result, print_notes
from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.progress import progress_bar

if TYPE_CHECKING:
    from deepsphere_codec.cli.options import Verbs


def add_encode(verbs: Verbs) -> None:
    """Add the verb to the program's parser."""
    encode = add_verb(verbs, "encode", _encode, "Code a 360° film (equirectangular, 2:1) into a .dsc file.")
    encode.add_argument(
        "input", metavar="INPUT", help=f"a film, a .y4m file or a folder of PNG frames; {STANDARD} reads standard input"
    )
    encode.add_argument("output", metavar="OUTPUT.dsc", help=f"{STANDARD} writes standard output, frame by frame")
    encode.add_argument("--quality", type=float, default=4.0, metavar="Q", help="1 smallest ... 8 best (4)")
    encode.add_argument(
        "--nside", type=int, metavar="N", help="resolution (by quality, at most a quarter of the width)"
    )
    encode.add_argument("--gop", type=int, default=32, metavar="N", help="frames from I-frame to I-frame, at most (32)")
    encode.add_argument(
        "--low-delay", action="store_true", help="code each frame as soon as it is read, without B-frames"
    )
    encode.add_argument(
        "--preset", choices=["fast", "medium", "slow"], default="medium", help="how long the encoder searches (medium)"
    )
    encode.add_argument(
        "--quality-map",
        metavar="PNG",
        help="grey ERP picture that says where quality is higher or lower: 128 as asked, 16 a whole quality more",
    )
    encode.add_argument("--assume-erp", action="store_true", help="take a film that is not 2:1 for a whole ERP")
    encode.add_argument("--pictures-only", action="store_true", help="leave out audio and tags")
    encode.add_argument(
        "--resume", action="store_true", help="keep what is coded in OUTPUT.part until it is whole, and go on with it"
    )
    add_coding_options(encode, "a model's name or its folder (the one that comes with the package)")


def _encode(args: argparse.Namespace) -> Result:
    from deepsphere_codec.films import encode_video
    from deepsphere_codec.models import DEFAULT_MODEL

    with progress_bar("encode") as on_progress:
        report = encode_video(
            "/dev/stdin" if args.input == STANDARD else args.input,
            _standard_output() if args.output == STANDARD else args.output,
            model=args.model or DEFAULT_MODEL,
            quality=args.quality,
            nside=args.nside,
            gop_size=args.gop,
            low_delay=args.low_delay,
            quality_map=args.quality_map,
            preset=args.preset,
            frames=args.frames,
            force=args.force,
            resume=args.resume,
            pictures_only=args.pictures_only,
            assume_erp=args.assume_erp,
            device=usable_device(args.device),
            threads=args.threads,
            workers=args.workers,
            cluster=args.cluster,
            on_progress=on_progress,
        )
    print_notes("note", report.notes)
    return {key: value for key, value in report._asdict().items() if key != "notes"}


def _standard_output() -> BinaryIO:
    if sys.stdout.isatty():
        raise UsageError("a .dsc file cannot be shown on a terminal; name a file, or redirect the output to a pipe")
    return sys.stdout.buffer
