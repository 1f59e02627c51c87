"""What the scripts share that train choices and compare them."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from tqdm import tqdm

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.script import check_positive
from studies.ablation.runs import PARTS, QUALITIES, Budget, Job, Variant, run_jobs

CLIP_FRAMES = 32


class Named(Protocol):
    @property
    def name(self) -> str: ...


Choice = TypeVar("Choice", bound=Named)


def add_arguments(parser: argparse.ArgumentParser, variants: Sequence[Variant], runs: str, out: str) -> None:
    """Of every ablation that trains a codec."""
    names = [variant.name for variant in variants]
    parser.add_argument("--config", type=Path, default=Path("configs/ablation.toml"), help="what all choices share")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each choice (2)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each (2)")
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them")
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/test/video"), help="films to measure on")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept")
    parser.add_argument("--runs", type=Path, default=Path(runs), help="where finished runs are kept")
    parser.add_argument("--out", type=Path, default=Path(out))


def chosen(args: argparse.Namespace, variants: Sequence[Choice], *numbers: str) -> list[Choice]:
    """The variants that are asked for; the others are compared with the first.

    Raises:
        UsageError: the first is not among them, or one of the numbers (or of --seeds and --jobs) is not above 0.
    """
    if variants[0].name not in args.variants:
        raise UsageError(f"--variants lacks {variants[0].name!r}, which the others are compared with")
    check_positive(args, "seeds", "jobs", *numbers)
    return [variant for variant in variants if variant.name in args.variants]


def list_jobs(
    args: argparse.Namespace, variants: Sequence[Variant], budgets: Mapping[str, Budget], frames: int = 2
) -> list[Job]:
    """One seed after the other, so that the first results are whole when half of the time has passed."""
    clips, anchor = args.runs / "clips", variants[0]
    return [
        Job(args.config, args.prepared, clips, args.runs, variant, part, seed, budgets[part], anchor, frames)
        for seed in range(1, args.seeds + 1)
        for part in PARTS
        for variant in variants
        if part in variant.parts
    ]


def train(
    args: argparse.Namespace, jobs: Sequence[Job], in_words: Callable[[dict[str, Any]], str]
) -> list[dict[str, Any]]:
    """The results of all jobs, with a line for each that comes; films are prepared where they are not yet."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    settings = jobs[0].settings
    prepare(Path(settings.films), args.prepared, settings.film_frames)
    prepare(args.clips, jobs[0].clips, CLIP_FRAMES)
    runs = []
    with tqdm(total=len(jobs), unit="run", disable=None) as bar:
        for result in run_jobs(jobs, args.jobs):
            runs.append(result)
            bar.update()
            bar.write(in_words(result), sys.stderr)
    return runs


def prepare(films: Path, out: Path, frames: int) -> None:
    """Films as arrays, unless there are some already."""
    if not any(out.glob("*.npy")):
        for line in prepare_films(films, out, frames=frames):
            sys.stderr.write(f"left out: {line}\n")


def shared_settings(jobs: Sequence[Job], budgets: Mapping[str, Budget]) -> dict[str, Any]:
    """Of all jobs alike, as results tell them."""
    settings = jobs[0].origin
    assert isinstance(settings.data, PatchSettings), "choices are of the sphere"
    return {
        "qualities": list(QUALITIES),
        "nside": settings.data.nside,
        "patch": settings.data.side,
        "batch": settings.train.batch,
        "rate": settings.train.rate,
        "precision": settings.train.precision,
        "budgets": {part: each._asdict() for part, each in budgets.items()},
        "clips": sorted(path.stem for path in jobs[0].clips.glob("*.npy")),
    }
