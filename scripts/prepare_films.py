#!/usr/bin/env python3
"""Convert films to a folder of clips for training.

    scripts/prepare_films.py FOLDER… --out runs/clips [--frames 64] [--width 1024] [--stereo top-bottom]
    scripts/prepare_films.py --ugc360 ROOT [--sizes S M] [--licences CC-BY] --out runs/clips

Reads .mp4, .mkv, .webm, .mov and .y4m films, folders of numbered PNG frames, and panoramas. Existing clips stay: an
interrupted run is continued by running it again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.data.record import EYES
from deepsphere_codec.data.ugc360 import SIZES, prepare_ugc360
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.runtime.progress import progress_bar


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bring films into a folder of clips that training samples from.")
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="of films and panoramas")
    parser.add_argument("--out", type=Path, default=Path("runs/clips"), help="where the clips go (runs/clips)")
    parser.add_argument("--frames", type=int, default=64, help="of a clip (64)")
    parser.add_argument("--width", type=int, default=1024, help="larger pictures are averaged down to it (1024)")
    parser.add_argument("--clips-per-film", type=int, default=1, metavar="N", help="at most so many (1)")
    parser.add_argument("--stride", type=int, metavar="N", help="frames from clip to clip (as many as a clip has)")
    parser.add_argument("--stereo", choices=list(EYES), default="none", help="how the films hold two eyes (none)")
    parser.add_argument("--assume-erp", action="store_true", help="take films that are not 2:1 for whole spheres too")
    parser.add_argument("--ugc360", type=Path, metavar="ROOT", help="where UGC360-S, -M, -L of that data set lie")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["S"], help="of UGC360 (S)")
    parser.add_argument("--licences", nargs="+", metavar="LICENCE", help="of UGC360, as its lists spell them (all)")
    args = parser.parse_args(arguments)
    if not args.folders and not args.ugc360:
        parser.error("nothing to prepare; name a FOLDER, or --ugc360 ROOT")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(lambda: prepare(args), "prepare_films", "what is whole was kept, run it again to go on")


def prepare(args: argparse.Namespace) -> None:
    if args.folders:
        with progress_bar("preparing", unit="film") as show:
            left_out = prepare_films(
                args.folders,
                args.out,
                frames=args.frames,
                width=args.width,
                clips_per_film=args.clips_per_film,
                stride=args.stride,
                stereo=args.stereo,
                assume_erp=args.assume_erp,
                on_progress=show,
            )
        tell(left_out)
    if args.ugc360:
        with progress_bar("preparing UGC360", unit="clip") as show:
            left_out = prepare_ugc360(
                args.ugc360,
                args.out,
                sizes=args.sizes,
                licences=args.licences,
                frames=args.frames,
                width=args.width,
                clips_per_film=args.clips_per_film,
                stride=args.stride,
                on_progress=show,
            )
        tell(left_out)
    print(f"{sum(1 for _ in args.out.glob('*.npy'))} clips in {args.out}")


def tell(left_out: list[str]) -> None:
    for line in left_out:
        print(f"prepare_films: left out: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
