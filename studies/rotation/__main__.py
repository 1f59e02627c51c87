"""Measure the sensitivity of codecs to the orientation of a film.

    python -m studies.rotation --codec sphere-dvc x265 --clips CLIP.mp4 --figure docs/rotation.svg

Each clip is rotated on the sphere, coded, decoded and rotated back, under 24 rotations, and compared with the same film
rotated and rotated back without coding. The spreads are printed. A codec is a model (its name or folder), a classical
codec, or `planar-ssf2020` with the weights in a folder (--weights). An interrupted run is continued by running it
again; without --clips nothing is measured, and the results in OUT are printed and drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from deepsphere_codec.codec import check_quality
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import ANCHORS, AnchorCodec
from deepsphere_codec.evaluation.anchors.ssf2020.measure import SsfCodec
from deepsphere_codec.evaluation.model import CodingOptions, ModelCodec, identify
from deepsphere_codec.evaluation.script import point_bar, run
from deepsphere_codec.runtime.memory import keep_freed_memory
from studies.rotation.figure import plot_rotations
from studies.rotation.measure import FilmCodec, RotationOptions, clips_of, measure_rotations
from studies.rotation.results import read_rotations
from studies.rotation.summary import spread_table

MODEL_QUALITY = 4.0
CRF = {"svtav1": 50.0}
OTHER_CRF = 33.0
NAMES = ", ".join([*ANCHORS, SsfCodec.codec])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how much codecs care which way is up.")
    parser.add_argument("--codec", nargs="+", default=["sphere-dvc", "x265"], metavar="NAME", help=f"a model, {NAMES}")
    parser.add_argument("--clips", type=Path, nargs="+", metavar="CLIP", help="films, or folders of them")
    parser.add_argument(
        "--quality",
        nargs="+",
        default=[],
        metavar="NAME=Q",
        help=f"on the codec's own scale (models 4, {SsfCodec.codec} the nearest to it that there is, crf 33 or 50)",
    )
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help=f"of {SsfCodec.codec}: its quality-N folders")
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="of each clip, from its first (8)")
    parser.add_argument("--rotations", type=int, default=24, metavar="N", help="of each clip (24)")
    parser.add_argument("--seed", type=int, default=0, help="of the rotations that are spread evenly (0)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of a model")
    parser.add_argument("--threads", type=int, metavar="N", help="of a model, and of torch here (all)")
    parser.add_argument("--out", type=Path, default=Path("results/rotation.json"), help="(results/rotation.json)")
    parser.add_argument("--figure", type=Path, metavar="FIGURE", help="ends in .svg or .png; none unless given")
    return parser.parse_args(arguments)


def make_codec(name: str, args: argparse.Namespace) -> FilmCodec:
    """Make a codec from its name on the command line.

    Args:
        name: Name of the codec.
        args: Options.
    Returns:
        Codec.
    """
    if name in ANCHORS:
        return AnchorCodec(name, args.frames)
    if name == SsfCodec.codec:
        return SsfCodec(args.weights, frames=args.frames, threads=args.threads or 1)
    options = CodingOptions(frames=args.frames, device=args.device, threads=args.threads)
    return ModelCodec(name, identify(name), options)


def qualities(codecs: Mapping[str, FilmCodec], wanted: list[str]) -> dict[str, float]:
    """Choose the quality of each codec.

    Args:
        codecs: Codecs by their names on the command line.
        wanted: Values of --quality, NAME=NUMBER each.
    Returns:
        Qualities by name.
    Raises:
        UsageError: a value is not NAME=NUMBER, belongs to no codec, or is not a quality of its codec.
    """
    found = {name: default_quality(codec) for name, codec in codecs.items()}
    for text in wanted:
        name, _, number = text.rpartition("=")
        if name not in found:
            raise UsageError(f"--quality {text} names none of {', '.join(found)}; write for example {[*found][0]}=5")
        try:
            found[name] = float(number)
        except ValueError:
            raise UsageError(f"--quality {text} ends in no number; write for example {name}=5") from None
        check(codecs[name], found[name])
    return found


def default_quality(codec: FilmCodec) -> float:
    if isinstance(codec, SsfCodec):
        return min(codec.qualities, key=lambda quality: abs(quality - MODEL_QUALITY))
    return CRF.get(codec.codec, OTHER_CRF) if codec.codec in ANCHORS else MODEL_QUALITY


def check(codec: FilmCodec, quality: float) -> None:
    """Check that a codec has a quality.

    Args:
        codec: Codec.
        quality: Quality on its own scale.
    Raises:
        UsageError: it has no such quality.
    """
    if isinstance(codec, SsfCodec):
        codec.weights_of(quality)
    elif codec.codec not in ANCHORS:
        check_quality(quality)


def measure(args: argparse.Namespace) -> None:
    """Measure the codecs on the command line and write the results."""
    clips = clips_of(args.clips)
    if args.frames < 1:
        raise UsageError(f"--frames {args.frames} holds no frame; take at least 1")
    if args.threads:
        torch.set_num_threads(args.threads)
    asked = {name: make_codec(name, args) for name in args.codec}
    quality = qualities(asked, args.quality)
    codecs: dict[str, tuple[FilmCodec, float]] = {}
    for name, codec in asked.items():
        if codec.codec in codecs:
            raise UsageError(f"two codecs are called {codec.codec}; measure them one by one, with an --out each")
        codecs[codec.codec] = (codec, quality[name])
    options = RotationOptions(args.frames, args.rotations, args.seed)
    with point_bar() as on_point:
        measure_rotations(codecs, clips, args.out, options, on_point=on_point)


def main() -> None:
    """Run the study."""
    args = parse()
    if args.clips:
        measure(args)
    results = read_rotations(args.out)
    print(spread_table({name: codec.summary for name, codec in results.codecs.items()}))
    if args.figure:
        plot_rotations(results, args.figure)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
