"""Train the codec with each optimiser, convolution and width, and compare losses at equal processor time.

    python -m studies.equal_time [--parts intra inter] [--seeds 1]

Every variant is trained from scratch on one thread and measured at each moment on held-out films. An interrupted run is
continued by running it again: results in --out are kept, and neither these nor finished runs are repeated, so that
variants may be trained at different times. --finished collects the measurements, also of unfinished runs.

    {"name": "equal_time", "description", "environment", "intra": PART, "inter": PART}
    PART: {"settings",
           "variants": [{"name", "changes": [], "parameters", "seconds_per_step", "bd_rate": {"mean", "per_seed": []},
                         "runs": [{"seed", "moments": [{"after", "steps", "seconds", "loss", "losses": []}],
                                   "points": [point]}]}]}

A loss is that of held-out frames after "after" seconds, which are steps times "seconds_per_step". A point is
{"quality", "frame", "bits_per_node", "psnr", "ws_psnr"}, measured at the last moment; an interrupted run has fewer
moments and no points. BD-rates refer to the anchor, and are null without points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation import script
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.sphere import HealpixGrid
from studies.ablation.costs import Costs, step_costs, steps_after
from studies.ablation.figure import FRAMES, Panel, Series, plot_panels
from studies.ablation.runs import Job, finish, list_jobs, prepare, run_job
from studies.ablation.study import Json, Study, as_changes, read_arguments
from studies.ablation.tables import (
    Runs,
    as_table,
    bd_rates,
    by_variant,
    in_percent,
    read_results,
    shared_settings,
    whole,
)

ABOUT = "Compare optimisers, convolutions and widths at equal processor time."
PARTS = ("intra", "inter")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this study."""
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="I-frames, P- and B-frames (both)")


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    study, args = read_arguments(__file__, ABOUT, arguments, add_options)
    if not args.draw:
        earlier = read_results(args.out, study) if args.out.exists() else {}
        write_json(args.out, whole(study, **compare(study, args, {part: earlier.get(part) for part in PARTS})))
    results = read_results(args.out, study)
    plot(results, args.figure)
    for part in PARTS:
        if part in results:
            print(part, table(results[part]), sep="\n")


def compare(study: Study, args: argparse.Namespace, earlier: Mapping[str, Json | None]) -> Json:
    """Run the study and return the results of all parts.

    Args:
        study: Study.
        args: Options of `read_arguments`.
        earlier: Existing results of the parts, which are kept except for runs that were repeated; None for none.
    Returns:
        Results.
    Raises:
        UsageError: there is no run, or earlier ones had other settings.
    """
    prepare(study, args)
    settings = {part: shared(study, args, part) for part in args.parts}
    rows = {part: {row["name"]: row for row in found["variants"]} for part, found in earlier.items() if found}
    for part, own in settings.items():
        if (found := earlier[part]) and found["settings"] != own:
            raise UsageError(f"{args.out} was measured with other settings; remove it, or name another with --out")
    complete = {
        (part, name, run["seed"])
        for part, own in rows.items()
        for name, row in own.items()
        for run in row["runs"]
        if run["points"]
    }
    todo = list_jobs(study, args, lambda *_: [1])
    todo = [job for job in todo if (job.part, job.variant.name, job.seed) not in complete]
    known = {part: {name: row["seconds_per_step"] for name, row in own.items()} for part, own in rows.items()}
    costs = step_costs(args, [] if args.finished else todo, known)
    todo = [job for job in todo if job.variant.name in costs[job.part]]
    jobs = [job._replace(steps=moments(study, costs[job.part][job.variant.name])) for job in todo]
    runs = by_variant(finish(args, jobs, run_job))
    for job in jobs:
        if (job.part, job.variant.name) in runs:
            own = rows.setdefault(job.part, {})
            before = own.get(job.variant.name, {"runs": []})
            own[job.variant.name] = describe(job, costs) | {"bd_rate": None, "runs": before["runs"]}
    results = {part: bring_together(settings[part], own, runs, part) for part, own in rows.items() if part in settings}
    results = {part: found for part in PARTS if (found := results.get(part) or earlier[part])}
    if not results:
        raise UsageError(f"{args.runs} holds no run; run it without --finished")
    return results


def shared(study: Study, args: argparse.Namespace, part: str) -> Json:
    """Return the settings that all variants of a part share.

    Args:
        study: Study.
        args: Options of `read_arguments`.
        part: Part of the codec.
    Returns:
        Settings.
    """
    about = {"anchor": study.anchor.name, "moments": study.moments, "loss_qualities": study.loss_qualities}
    changes = as_changes(study.parts[part].get("settings", {}))
    return {**about, **shared_settings(study, args, part), "changes": changes}


def moments(study: Study, cost: float) -> tuple[int, ...]:
    """Convert the moments of a study to steps.

    Args:
        study: Study.
        cost: Seconds per step.
    Returns:
        Numbers of steps.
    """
    return tuple(steps_after(seconds, cost) for seconds in study.moments)


def describe(job: Job, costs: Mapping[str, Costs]) -> Json:
    """Describe a variant by its name, changes, parameters and seconds per step.

    Args:
        job: Training of the variant.
        costs: Seconds per step by part and variant.
    Returns:
        Description.
    """
    network = SphereDVC(job.settings.model, HealpixGrid.cached(64))
    return {
        "name": job.variant.name,
        "changes": job.changes,
        "parameters": sum(p.numel() for p in network.get_submodule(job.part).parameters()),
        "seconds_per_step": costs[job.part][job.variant.name],
    }


def bring_together(settings: Json, rows: Mapping[str, Json], runs: Runs, part: str) -> Json:
    """Combine the runs of one part.

    Args:
        settings: Settings that all variants share.
        rows: Results of each variant with earlier runs, which are kept except for those that were repeated.
        runs: Runs of `run_job`.
        part: Part of the codec.
    Returns:
        Results of the part.
    """
    tables = []
    for name, row in rows.items():
        own = {run["seed"]: run for run in row["runs"]}
        for seed, run in runs.get((part, name), {}).items():
            reached = [
                {"after": after} | moment for after, moment in zip(settings["moments"], run["moments"], strict=False)
            ]
            own[seed] = {"seed": seed, "moments": reached, "points": run["points"]}
        tables.append({**row, "runs": [own[seed] for seed in sorted(own)]})
    points = {row["name"]: {run["seed"]: run["points"] for run in row["runs"]} for row in tables}
    for row in tables:
        row["bd_rate"] = bd_rates(points.get(settings["anchor"], {}), points[row["name"]])
    return {"settings": settings, "variants": tables}


def plot(results: Json, path: str | Path) -> None:
    """Draw the loss of held-out frames against seconds of training, mean over seeds, one panel for each part.

    Args:
        results: Results of the study.
        path: File to write, ends in .svg or .png.
    """
    title = "{}: loss of patches of test clips"
    panels = [
        Panel(title.format(FRAMES[part]), "seconds of one core", series(results[part]))
        for part in PARTS
        if part in results
    ]
    plot_panels([panels], path)


def series(part: Json) -> list[Series]:
    """Make the line of each variant, up to the last moment that all of its seeds reached."""
    lines = []
    for row in part["variants"]:
        reached = list(zip(*(run["moments"] for run in row["runs"]), strict=False))
        seconds = [float(each[0]["after"]) for each in reached]
        losses = [fmean(run["loss"] for run in each) for each in reached]
        if seconds:
            lines.append(Series(row["name"], f"{row['name']}  {losses[-1]:.4f}", seconds, losses))
    latest = max((line.x[-1] for line in lines), default=0.0)
    return [
        line if line.x[-1] == latest else line._replace(label=f"{line.label} after {line.x[-1]:.0f} s")
        for line in lines
    ]


def table(part: Json) -> str:
    """Format losses at each moment, steps, parameters and BD-rate, one line for each run."""
    return as_table(
        {"held-out loss": row["name"]}
        | {f"{after:.0f} s": "" for after in part["settings"]["moments"]}
        | {f"{each['after']:.0f} s": f"{each['loss']:.4f}" for each in run["moments"]}
        | {"steps": str(run["moments"][-1]["steps"]), "s/step": f"{row['seconds_per_step']:.3f}"}
        | {"parameters": f"{row['parameters']:,}", "BD-rate": in_percent(row["bd_rate"])}
        for row in part["variants"]
        for run in row["runs"]
    )


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(script.run(main))
