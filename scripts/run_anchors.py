#!/usr/bin/env python3
"""Measure classical codecs on a folder of clips.

    scripts/run_anchors.py --codecs x264 x265 svtav1 --clips FOLDER --out results/anchors.json

If --out is a folder, each codec has its own file there. An interrupted run is continued by running it again. Points
that cannot be measured are listed at the end, with the reason; the other points are measured, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepsphere_codec.evaluation.anchors.classical import ANCHORS, AnchorCodec
from deepsphere_codec.evaluation.anchors.cubemap import CubemapCeiling
from deepsphere_codec.evaluation.evaluate import evaluate
from deepsphere_codec.evaluation.script import point_bar, report_missing, run
from deepsphere_codec.video.clips import find_clips

CEILING = CubemapCeiling.codec


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure classical codecs on a folder of 360° clips.")
    parser.add_argument(
        "--codecs",
        nargs="+",
        default=["x264", "x265", "svtav1"],
        metavar="NAME",
        help=", ".join([*ANCHORS, CEILING]),
    )
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--quality", type=float, nargs="+", metavar="CRF", help="or QP; each codec's own unless given")
    parser.add_argument("--frames", type=int, default=32, metavar="N", help="of each clip, from its first (32)")
    parser.add_argument("--out", type=Path, default=Path("results/anchors.json"), help="results file, or a folder")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse()
    codecs = [
        CubemapCeiling(args.frames) if name == CEILING else AnchorCodec(name, args.frames) for name in args.codecs
    ]
    with point_bar() as on_point:
        results = evaluate(codecs, find_clips(args.clips), args.out, qualities=args.quality, on_point=on_point)
    return report_missing(results)


if __name__ == "__main__":
    sys.exit(run(main))
