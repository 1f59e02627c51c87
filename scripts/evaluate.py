#!/usr/bin/env python3
"""Measure codecs on a folder of clips.

    scripts/evaluate.py --codec NAME --clips FOLDER --quality 1 3 5 7 --frames 32 --out results/NAME.json

NAME is a model (its name or folder), a classical codec (x264, x265, x265-zerolatency, svtav1), `ceiling` (resampling
alone), or `planar-ssf2020`, CompressAI's ScaleSpaceFlow with the weights in a folder (--weights). If --out is a folder,
each codec has its own file there. An interrupted run is continued by running it again. Points that cannot be measured
are listed at the end, with the reason; the other points are measured, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepsphere_codec.codec import check_quality
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import ANCHORS, AnchorCodec
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.ceiling import CeilingCodec
from deepsphere_codec.evaluation.evaluate import Codec, evaluate
from deepsphere_codec.evaluation.model import CodingOptions, ModelCodec, identify
from deepsphere_codec.evaluation.results import Results
from deepsphere_codec.evaluation.script import check_positive, point_bar, report_missing, run
from deepsphere_codec.motion.search import EFFORTS
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.video.clips import find_clips


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure codecs on a folder of 360° clips.")
    parser.add_argument(
        "--codec",
        nargs="+",
        required=True,
        metavar="NAME",
        help=f"a model, {', '.join([*ANCHORS, CeilingCodec.codec, SsfCodec.codec])}",
    )
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--quality", type=float, nargs="+", metavar="Q", help="on the codec's own scale; not for ceiling"
    )
    parser.add_argument("--frames", type=int, default=32, metavar="N", help="of each clip, from its first (32)")
    parser.add_argument("--gop", type=int, default=32, metavar="N", help="of a model (32)")
    parser.add_argument(
        "--nside", type=int, metavar="N", help="of a model (a quarter of the width) or the ceiling (256)"
    )
    parser.add_argument("--preset", choices=list(EFFORTS), default="medium", help="of a model (medium)")
    parser.add_argument("--low-delay", action="store_true", help="of a model: frames in order, no B-frames")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of a model")
    parser.add_argument("--threads", type=int, metavar="N", help="of a model (all)")
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help=f"of {SsfCodec.codec}: its quality-N folders")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="points measured side by side (1)")
    parser.add_argument("--out", type=Path, required=True, help="results file, or a folder")
    return parser.parse_args(arguments)


def make_codec(name: str, args: argparse.Namespace) -> Codec:
    """Make a codec from its name on the command line.

    Args:
        name: Name of the codec.
        args: Options.
    Returns:
        Codec.
    """
    if name in ANCHORS:
        return AnchorCodec(name, args.frames)
    if name == CeilingCodec.codec:
        return CeilingCodec(args.frames, args.nside)
    if name == SsfCodec.codec:
        return SsfCodec(args.weights, frames=args.frames, gop=args.gop, threads=args.threads or 1)
    for quality in args.quality or ():
        check_quality(quality)
    options = CodingOptions(args.frames, args.gop, args.nside, args.device, args.threads, args.preset, args.low_delay)
    return ModelCodec(name, identify(name), options)


def main() -> int:
    args = parse()
    check_positive(args, "jobs")
    clips = find_clips(args.clips)
    codecs = [make_codec(name, args) for name in args.codec]
    names = [codec.codec for codec in codecs]
    if len(set(names)) < len(names):
        raise UsageError(
            f"two codecs have one name ({', '.join(sorted(names))}); measure them one by one, with an --out each"
        )
    results: list[Results] = []
    with point_bar() as on_point:
        for codec in codecs:
            qualities = None if codec.codec == CeilingCodec.codec else args.quality
            results += evaluate([codec], clips, args.out, qualities=qualities, jobs=args.jobs, on_point=on_point)
    return report_missing(results)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
