"""The verb `compare`, which measures a decoded film against its source."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepsphere_codec.cli.arguments import viewports_argument
from deepsphere_codec.cli.options import add_frames_option, add_verb
from deepsphere_codec.cli.output import Result
from deepsphere_codec.errors import UsageError
from deepsphere_codec.runtime.progress import progress_bar

if TYPE_CHECKING:
    from deepsphere_codec.cli.options import Verbs


def add_compare(verbs: Verbs) -> None:
    """Add the verb to the program's parser."""
    compare = add_verb(verbs, "compare", _compare, "Measure a decoded film against its source.")
    compare.add_argument("reference", metavar="REFERENCE")
    compare.add_argument("decoded", metavar="DECODED")
    add_frames_option(compare, "half-open range of REFERENCE's frames that was coded (from the first)")
    compare.add_argument(
        "--metrics", choices=["quick", "all"], default="all", help="quick leaves out what needs resampling (all)"
    )
    compare.add_argument(
        "--viewports",
        type=viewports_argument,
        metavar="YAW,PITCH,FOV;...",
        help="flat views to measure in, degrees, such as --viewports='0,0,90;-120,35,70' (the six faces of a cube)",
    )


def _compare(args: argparse.Namespace) -> Result:
    from functools import partial

    from deepsphere_codec.evaluation.compare import compare_videos
    from deepsphere_codec.metrics.frame import ALL_KEYS, QUICK_KEYS, Measure, measure_frame, measure_quick
    from deepsphere_codec.metrics.viewports import CUBE, ViewDirection

    is_quick = args.metrics == "quick"
    if is_quick and args.viewports:
        raise UsageError("--viewports is for --metrics all; quick looks through none")
    looks = [ViewDirection(*numbers) for numbers in args.viewports or CUBE]
    measure: Measure = measure_quick if is_quick else partial(measure_frame, looks=looks)
    with progress_bar("compare") as on_progress:
        comparison = compare_videos(
            args.reference, args.decoded, frames=args.frames, measure=measure, on_progress=on_progress
        )
    return comparison.as_dict(QUICK_KEYS if is_quick else ALL_KEYS)
