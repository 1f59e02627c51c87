#!/usr/bin/env python3
"""Count the symbols of motion trees on training films, for the tables of released models.

    scripts/count_motion.py [--films ../shared/data/train/video] [--model NAME|DIR] [--quality 1 3 5 7] [--frames 9]

Each film is coded in groups of random sizes, at one of the qualities in turn; the counts are written to
deepsphere_codec/motion/counts.npz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from deepsphere_codec.codec import make_resampler, signal_from_frame
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models import DEFAULT_MODEL, References, SphereDVC, load_model
from deepsphere_codec.motion.contexts import COUNTS
from deepsphere_codec.motion.counting import SymbolCounter
from deepsphere_codec.motion.syntax import write_tree
from deepsphere_codec.runtime.progress import progress_bar
from deepsphere_codec.training.order import random_order
from deepsphere_codec.video import open_video
from deepsphere_codec.video.clips import find_clips


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count the symbols of motion trees on training films.")
    parser.add_argument("--films", type=Path, default=Path("../shared/data/train/video"))
    parser.add_argument("--every", type=int, default=1, help="take every so many-th film (1)")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--quality", type=float, nargs="+", default=[1.0, 3.0, 5.0, 7.0])
    parser.add_argument("--frames", type=int, default=9, help="of each film (9)")
    parser.add_argument("--nside", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=COUNTS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    network, counter = load_model(args.model).network(args.nside), SymbolCounter()
    films = find_clips(args.films)[:: args.every]
    with progress_bar("counting", unit="film") as show:
        for number, film in enumerate(films):
            quality = args.quality[number % len(args.quality)]
            count_film(network, film, quality, args.frames, args.nside, counter)
            show(number + 1, len(films))
    np.savez_compressed(args.out, **{name: each.astype(np.int32) for name, each in counter.by_kind().items()})
    print(f"{int(counter.counts.sum())} symbols of {len(films)} films")


@torch.inference_mode()
def count_film(network: SphereDVC, film: Path, quality: float, frames: int, nside: int, counter: SymbolCounter) -> None:
    """Code the first frames of a film, and count the symbols of their motion trees.

    Args:
        network: Network.
        film: Film.
        quality: Quality, 1 … 8.
        frames: Number of frames.
        nside: Resolution.
        counter: Counter that the symbols are added to.
    """
    with open_video(film, frames=(0, frames)) as reader:
        resampler = make_resampler(network.config.geometry, reader.info.height, reader.info.width, nside)
        signals = [signal_from_frame(frame, resampler) for frame in reader]
    states = {0: network.encode_intra(signals[0], quality).state}
    for place in random_order(len(signals)):
        references = References(*place.references(states), place.distances)
        state = network.encode_inter(signals[place.number], references, quality, place.layer).state
        states[place.number] = state
        if state.tree is not None:
            setting = network.inter.setting(references)
            write_tree(state.tree, network.inter.blocks, setting, network.inter.tables, counter)  # type: ignore[arg-type]


if __name__ == "__main__":
    run(main)
