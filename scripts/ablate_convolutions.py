"""Train the codec with each kind of convolution, alike, and compare what they save and the time they take.

    scripts/ablate_convolutions.py [--minutes 100] [--jobs 2] [--seeds 2]

Every choice is trained for I- and for P-frames, once for each seed, until both so many steps and so much of the
processor's time have passed, and measured at both moments on films that none of them sees. Run it again to go on where
it was broken off. --draw draws the figure anew from the results, and trains nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.ablation import (
    ablation_table,
    bring_together,
    measure_milliseconds,
    read_ablation,
    write_ablation,
)
from deepsphere_codec.evaluation.ablation_plot import plot_ablation
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training.ablation import (
    ANCHOR,
    PARTS,
    QUALITIES,
    VARIANTS,
    Budget,
    Job,
    Variant,
    run_jobs,
)

MINUTES = 100.0
BUDGETS = {"intra": Budget(1400, 290.0), "inter": Budget(900, 390.0)}
"""Of a run, so that seven choices, two seeds and two parts take MINUTES on two cores."""
CLIP_FRAMES = 32
DESCRIPTION = (
    "The same codec with different convolutions in its transforms, trained alike; estimated rate and PSNR-YUV (6:1:1) "
    "of patches of test clips, BD-rate by PCHIP. P-frames follow the same fixed I-frames (a quantised block "
    "transform) for every choice; motion's own networks are directional in all, and its estimator is not trained. "
    "Milliseconds are those of the transforms on one frame of the whole sphere, one thread, without entropy coding."
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare convolutions: BD-rate, time and parameters.")
    parser.add_argument("--config", type=Path, default=Path("configs/ablation.toml"), help="what all choices share")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that two seeds take on two cores, about (100)")
    parser.add_argument("--steps", type=int, help="of each run, in place of a number that follows from --minutes")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each choice (2)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each (2)")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them")
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/test/video"), help="films to measure on")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="where finished runs are kept")
    parser.add_argument("--out", type=Path, default=Path("results/convolutions.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/convolutions.svg"))
    parser.add_argument("--draw", action="store_true", help="only draw FIGURE from OUT")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if not args.draw:
        write_ablation(args.out, ablate(args))
    results = read_ablation(args.out)
    plot_ablation(results, args.figure)
    print(ablation_table(results))


def ablate(args: argparse.Namespace) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    variants = [variant for variant in VARIANTS if variant.name in args.variants]
    if ANCHOR not in args.variants:
        raise UsageError(f"--variants lacks {ANCHOR!r}, which the others are compared with")
    if min(args.seeds, args.jobs, args.minutes, args.steps or 1) <= 0:
        raise UsageError("--seeds, --jobs, --minutes and --steps must be greater than 0")
    budgets = {part: budget(args, part) for part in PARTS}
    jobs = list_jobs(args, variants, budgets)
    shared = jobs[0].settings
    prepare(Path(shared.films), args.prepared, shared.film_frames)
    prepare(args.clips, jobs[0].clips, CLIP_FRAMES)
    runs = train(jobs, args.jobs)
    rows = describe(jobs)
    settings = {
        "qualities": list(QUALITIES),
        "nside": shared.data.nside,
        "patch": shared.data.side,
        "batch": shared.train.batch,
        "rate": shared.train.rate,
        "precision": shared.train.precision,
        "budgets": {part: each._asdict() for part, each in budgets.items()},
        "clips": sorted(path.stem for path in jobs[0].clips.glob("*.npy")),
    }
    return bring_together(rows, runs, ANCHOR, DESCRIPTION, settings)


def budget(args: argparse.Namespace, part: str) -> Budget:
    scale, given = args.minutes / MINUTES, BUDGETS[part]
    return Budget(args.steps or max(1, round(scale * given.steps)), scale * given.seconds)


def list_jobs(args: argparse.Namespace, variants: list[Variant], budgets: dict[str, Budget]) -> list[Job]:
    """One seed after the other, so that the first results are whole when half of the time has passed."""
    films, clips = args.prepared, args.runs / "clips"
    return [
        Job(args.config, films, clips, args.runs, variant, part, seed, budgets[part])
        for seed in range(1, args.seeds + 1)
        for part in PARTS
        for variant in variants
    ]


def prepare(films: Path, out: Path, frames: int) -> None:
    if not any(out.glob("*.npy")):
        for line in prepare_films(films, out, frames=frames):
            print(f"left out: {line}", file=sys.stderr)


def train(jobs: list[Job], at_once: int) -> list[dict[str, Any]]:
    """The results of all jobs, with a line for each that comes."""
    runs = []
    with tqdm(total=len(jobs), unit="run", disable=None) as bar:
        for result in run_jobs(jobs, at_once):
            runs.append(result)
            bar.update()
            bar.write(in_words(result), sys.stderr)
    return runs


def in_words(result: dict[str, Any]) -> str:
    steps, seconds = result["equal_steps"], result["equal_time"]
    return (
        f"{result['part']}, {result['variant']}, seed {result['seed']}: {steps['steps']} steps in "
        f"{steps['seconds']:.0f} s, {seconds['steps']} steps in {seconds['seconds']:.0f} s"
    )


def describe(jobs: list[Job]) -> list[dict[str, Any]]:
    """Configuration, parameters and time of each variant, on the whole sphere."""
    settings = {job.variant.name: job.settings for job in jobs}
    grid = HealpixGrid.cached(jobs[0].settings.data.nside)
    networks = {name: SphereDVC(each.model, grid).eval() for name, each in settings.items()}
    times = measure_milliseconds(networks)
    return [
        {
            "name": name,
            "config": network.config.to_dict(),
            "parameters": {part: sum(p.numel() for p in getattr(network, part).parameters()) for part in PARTS},
            "milliseconds": times[name],
        }
        for name, network in networks.items()
    ]


if __name__ == "__main__":
    sys.exit(run(main))
