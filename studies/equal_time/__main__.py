"""Train the codec with each optimiser, convolution and width, and compare losses at equal processor time.

    python -m studies.equal_time [--parts intra inter] [--moments 300 600 900 1200 1500 1800] [--seeds 1]

Every choice is trained from nothing on one thread, one after the other, and measured at each moment on films that none
of them sees. Run it again to go on: what --out holds already stays there, and neither that nor a run that finished is
repeated, so the choices may be trained at several times. --finished trains nothing and gathers what was measured, of
unfinished runs as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import read_json, write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.sphere import HealpixGrid
from studies.ablation.runs import Budget, Job
from studies.ablation.script import prepare, shared_settings
from studies.ablation.tables import PARTS
from studies.equal_time.choices import ANCHOR, PART_CHANGES, VARIANTS, of_part
from studies.equal_time.figure import plot_equal_time
from studies.equal_time.measure import (
    LOSS_QUALITIES,
    measured_run,
    seconds_per_step,
    steps_after,
    train_to,
)
from studies.equal_time.results import bring_together, loss_table, whole

MOMENTS = (300.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0)
COSTS = "seconds-per-step.json"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description="Compare optimisers, convolutions and widths at equal processor time.")
    parser.add_argument("--config", type=Path, default=Path("configs/equal-time.toml"), help="what all choices share")
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them")
    parser.add_argument(
        "--parts", nargs="+", default=list(PARTS), choices=PARTS, help="I-frames, P- and B-frames (both)"
    )
    parser.add_argument("--moments", type=float, nargs="+", default=list(MOMENTS), help="seconds (300 600 … 1800)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="each choice is trained once with each (1)")
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/test"), help="films to measure on")
    parser.add_argument("--frames", type=int, default=64, help="of each film that is prepared (64)")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept")
    parser.add_argument("--prepared-test", type=Path, default=Path("runs/clips-test"), help="and films to measure on")
    parser.add_argument("--runs", type=Path, default=Path("runs/equal_time"), help="where finished runs are kept")
    parser.add_argument("--out", type=Path, default=Path("results/equal_time.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/equal_time.svg"))
    parser.add_argument("--finished", action="store_true", help="train nothing: take what was measured")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if min(args.moments) <= 0:
        raise UsageError(f"--moments holds {min(args.moments):g}: must be greater than 0")
    torch.set_num_threads(1)
    earlier = {part: read_json(args.out).get(part) for part in PARTS} if args.out.exists() else {}
    measured = {part: results for part in args.parts if (results := compare(args, part, earlier.get(part)))}
    if not measured:
        raise UsageError(f"{args.runs} holds no run; run it without --finished")
    found = {part: results for part, results in (earlier | measured).items() if results}
    write_json(args.out, whole(found))
    plot_equal_time(found, args.figure)
    for part, results in found.items():
        print(part, loss_table(results), sep="\n")


def compare(args: argparse.Namespace, part: str, earlier: dict[str, Any] | None) -> dict[str, Any] | None:
    """Results of one part of the codec; None where nothing was trained.

    Args:
        earlier: What --out holds of this part.
    """
    prepare(args.clips, args.prepared_test, args.frames)
    jobs = list_jobs(args, part)
    settings = shared(args, part, jobs[0])
    if earlier and earlier["settings"] != settings:
        raise UsageError(f"{args.out} was measured with other settings; remove it, or name another file with --out")
    whole_runs = finished_runs(earlier) if earlier else set()
    jobs = [job for job in jobs if (job.variant.name, job.seed) not in whole_runs]
    if earlier:
        keep_costs(args, part, {variant["name"]: variant["seconds_per_step"] for variant in earlier["variants"]})
    costs = read_costs(args, part) if args.finished or not jobs else measure_costs(args, part, jobs)
    jobs = [job for job in jobs if job.variant.name in costs]
    results = [result for job in jobs if (result := result_of(args, job, costs[job.variant.name]))]
    if not results:
        return earlier
    described = {job.variant.name: describe(job, costs) for job in jobs}
    return bring_together(list(described.values()), results, settings, earlier)


def finished_runs(results: dict[str, Any]) -> set[tuple[str, int]]:
    """Variant and seed of the runs that were measured to their end."""
    return {
        (variant["name"], run["seed"]) for variant in results["variants"] for run in variant["runs"] if run["points"]
    }


def list_jobs(args: argparse.Namespace, part: str, costs: dict[str, float] | None = None) -> list[Job]:
    """Make a job for each seed of each chosen variant, seed by seed; its steps are those of the last moment."""
    costs = read_costs(args, part) if costs is None else costs
    places = args.prepared, args.prepared_test, args.runs
    chosen = [of_part(variant, part) for variant in VARIANTS if variant.name in args.variants]
    anchor = of_part(VARIANTS[0], part)
    return [
        Job(args.config, *places, variant, part, seed, budget(args, costs, variant.name), anchor, decays=True)
        for seed in args.seeds
        for variant in chosen
    ]


def budget(args: argparse.Namespace, costs: dict[str, float], name: str) -> Budget:
    return Budget(steps_after(max(args.moments), costs.get(name, 1.0)))


def measure_costs(args: argparse.Namespace, part: str, jobs: list[Job]) -> dict[str, float]:
    """Prepare films where there are none, and measure seconds a step of variants whose step was not measured yet."""
    prepare(Path(jobs[0].settings.films), args.prepared, args.frames)
    costs = read_costs(args, part)
    if unknown := list({job.variant.name: job for job in jobs if job.variant.name not in costs}.values()):
        # Beside the anchor again, so that a slower machine slows down none in comparison.
        anchor = [job for job in list_jobs(args, part) if job.variant.name == ANCHOR][:1]
        beside = seconds_per_step([*(job for job in anchor if job not in unknown), *unknown])
        factor = costs.get(ANCHOR, beside.get(ANCHOR, 1.0)) / beside.get(ANCHOR, 1.0)
        costs |= {name: round(cost * factor, 4) for name, cost in beside.items() if name not in costs}
        keep_costs(args, part, costs)
    jobs[:] = [job._replace(budget=budget(args, costs, job.variant.name)) for job in jobs]
    return costs


def keep_costs(args: argparse.Namespace, part: str, costs: dict[str, float]) -> None:
    """Seconds a step, beside those that are known."""
    write_json(args.runs / COSTS, read_costs(args) | {part: costs | read_costs(args, part)})


def read_costs(args: argparse.Namespace, part: str = "") -> dict[str, Any]:
    """Seconds a step by variant; by part first without one."""
    path = args.runs / COSTS
    found = read_json(path) if path.exists() else {}
    return found.get(part, {}) if part else found


def result_of(args: argparse.Namespace, job: Job, cost: float) -> dict[str, Any] | None:
    """The result of one job, trained with a line on standard error if need be; None where it is not to be trained."""
    moments = [steps_after(seconds, cost) for seconds in sorted(args.moments)]
    result = measured_run(job, moments)
    if args.finished or (result and len(result["moments"]) == len(moments)):
        return result
    result = train_to(job, moments)
    losses = ", ".join(f"{each['loss']:.4f} after {each['steps']} steps" for each in result["moments"])
    sys.stderr.write(f"{job.name}: {losses}\n")
    return result


def describe(job: Job, costs: dict[str, float]) -> dict[str, Any]:
    """Changes, parameters and cost of a step of one variant."""
    network = SphereDVC(job.settings.model, HealpixGrid.cached(64))
    return {
        "name": job.variant.name,
        "changes": list(job.variant.changes),
        "parameters": sum(p.numel() for p in network.get_submodule(job.part).parameters()),
        "seconds_per_step": costs[job.variant.name],
    }


def shared(args: argparse.Namespace, part: str, job: Job) -> dict[str, Any]:
    """Settings that all choices share."""
    own = {key: value for key, value in shared_settings([job], {}).items() if key != "budgets"}
    about = {"anchor": ANCHOR, "moments": sorted(args.moments), "loss_qualities": list(LOSS_QUALITIES)}
    return {**about, **own, "changes": list(PART_CHANGES[part])}


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
