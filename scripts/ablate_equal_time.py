"""Train the codec for I-frames with each optimiser, convolution and width, and compare losses at equal processor time.

    scripts/ablate_equal_time.py [--moments 120 240 480 720] [--seed 1]

Every choice is trained from nothing on one thread, one after the other, and measured at each moment on films that none
of them sees. Run it again to go on: runs that finished are not repeated. --finished trains nothing and gathers what
was measured, of unfinished runs as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.equal_time import bring_together, loss_table
from deepsphere_codec.evaluation.json_file import read_json, write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training.ablation import Budget, Job
from deepsphere_codec.training.equal_time import (
    LOSS_QUALITIES,
    measured_run,
    seconds_per_step,
    steps_after,
    train_to,
)
from deepsphere_codec.training.equal_time_choices import ANCHOR, VARIANTS
from deepsphere_codec.training.script import prepare, shared_settings

MOMENTS = (120.0, 240.0, 480.0, 720.0)
NO_END = 10**9  # steps: the last moment ends a run
COSTS = "seconds-per-step.json"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description="Compare optimisers, convolutions and widths at equal processor time.")
    parser.add_argument("--config", type=Path, default=Path("configs/equal-time.toml"), help="what all choices share")
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them")
    parser.add_argument("--moments", type=float, nargs="+", default=list(MOMENTS), help="seconds (120 240 480 720)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/test"), help="films to measure on")
    parser.add_argument("--frames", type=int, default=64, help="of each film that is prepared (64)")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept")
    parser.add_argument("--prepared-test", type=Path, default=Path("runs/clips-test"), help="and films to measure on")
    parser.add_argument("--runs", type=Path, default=Path("runs/equal_time"), help="where finished runs are kept")
    parser.add_argument("--out", type=Path, default=Path("results/equal_time.json"))
    parser.add_argument("--finished", action="store_true", help="train nothing: take what was measured")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if min(args.moments) <= 0:
        raise UsageError(f"--moments holds {min(args.moments):g}: must be greater than 0")
    torch.set_num_threads(1)
    jobs = list_jobs(args)
    costs = read_costs(args) if args.finished else measure_costs(args, jobs)
    jobs = [job for job in jobs if job.variant.name in costs]
    results = [result for job in jobs if (result := result_of(args, job, costs[job.variant.name]))]
    if not results:
        raise UsageError(f"{args.runs} holds no run; run it without --finished")
    found = bring_together([describe(job, costs) for job in jobs], results, ANCHOR, shared(args, jobs[0]))
    write_json(args.out, found)
    print(loss_table(found))


def list_jobs(args: argparse.Namespace) -> list[Job]:
    """Make one job for each chosen variant."""
    places = args.prepared, args.prepared_test, args.runs
    chosen = [variant for variant in VARIANTS if variant.name in args.variants]
    return [Job(args.config, *places, variant, "intra", args.seed, Budget(NO_END), VARIANTS[0]) for variant in chosen]


def measure_costs(args: argparse.Namespace, jobs: list[Job]) -> dict[str, float]:
    """Prepare films where there are none, and measure seconds a step, of all jobs unless that was done before."""
    prepare(Path(jobs[0].settings.films), args.prepared, args.frames)
    prepare(args.clips, args.prepared_test, args.frames)
    costs = read_costs(args)
    if any(job.variant.name not in costs for job in jobs):
        costs = seconds_per_step(jobs)
        write_json(args.runs / COSTS, costs)
    return costs


def read_costs(args: argparse.Namespace) -> dict[str, float]:
    path = args.runs / COSTS
    return read_json(path) if path.exists() else {}


def result_of(args: argparse.Namespace, job: Job, cost: float) -> dict[str, Any] | None:
    """The result of one job, trained with a line on standard error if need be; None where it is not to be trained."""
    moments = [steps_after(seconds, cost) for seconds in sorted(args.moments)]
    result = measured_run(job, moments)
    if args.finished or (result and len(result["moments"]) == len(moments)):
        return result
    result = train_to(job, moments)
    losses = ", ".join(f"{each['loss']:.4f} after {each['steps']} steps" for each in result["moments"])
    sys.stderr.write(f"{job.variant.name}: {losses}\n")
    return result


def describe(job: Job, costs: dict[str, float]) -> dict[str, Any]:
    """Changes, parameters and cost of a step of one variant."""
    network = SphereDVC(job.settings.model, HealpixGrid.cached(64))
    return {
        "name": job.variant.name,
        "changes": list(job.variant.changes),
        "parameters": sum(p.numel() for p in network.intra.parameters()),
        "seconds_per_step": costs[job.variant.name],
    }


def shared(args: argparse.Namespace, job: Job) -> dict[str, Any]:
    """Settings that all choices share."""
    own = {key: value for key, value in shared_settings([job], {}).items() if key != "budgets"}
    return {"moments": sorted(args.moments), "loss_qualities": list(LOSS_QUALITIES), **own}


if __name__ == "__main__":
    sys.exit(run(main))
