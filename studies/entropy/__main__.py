"""Measure the savings by each part of a model's entropy parameters, at equal picture quality.

    python -m studies.entropy [--model sphere-dvc] [--steps 3000] [--jobs 2] [--seeds 1 2]

The model's latents of patches of films are recorded once. Then hyperpriors, each without one part, are trained on them
from scratch, and compared on films that are held out from their training and the model's. An interrupted run is
continued by running it again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

import pandas as pd

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models import DEFAULT_MODEL, load_model
from deepsphere_codec.runtime.memory import keep_freed_memory
from studies.ablation.runs import finish, prepare, with_bar
from studies.ablation.study import Json, Study, read_arguments
from studies.ablation.tables import as_table, read_results, whole
from studies.entropy.hyperpriors import Job, measure_own, run_job
from studies.entropy.latents import Plan, collect, places

ABOUT = "Bits that each part of the entropy parameters saves."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this study."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder (sphere-dvc)")


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    study, args = read_arguments(__file__, ABOUT, arguments, add_options)
    if not args.draw:
        prepare(study, args)
        plan = make_plan(study, args)
        with_bar(collect, places(plan), args.jobs, "place")
        jobs = list_jobs(study, plan)
        write_json(args.out, bring_together(study, plan, finish(args, jobs, run_job)))
    print(table(read_results(args.out, study)))


def make_plan(study: Study, args: argparse.Namespace) -> Plan:
    """Describe model, samples and training.

    Args:
        study: Study.
        args: Options of `read_arguments`.
    Returns:
        Plan.
    """
    model, settings = load_model(args.model), study.settings
    return Plan(
        model=args.model,
        name=model.name,
        weights_hash=model.weights_hash,
        config=model.config,
        films=args.prepared,
        clips=args.prepared_test,
        folder=args.runs,
        data=PatchSettings(**settings["data"]),
        sampling=settings["sampling"],
        training={"steps": study.parts["intra"]["steps"], **settings["training"]},
    )


def list_jobs(study: Study, plan: Plan) -> list[Job]:
    """List the jobs, one seed after the other, so that the first seed is complete early.

    Args:
        study: Study.
        plan: Model, samples and training.
    Returns:
        Jobs.
    """
    return [
        Job(plan, variant, part, seed)
        for seed in study.seeds
        for part in study.parts
        for variant in study.variants
        if part in variant.parts
    ]


def bring_together(study: Study, plan: Plan, runs: Sequence[Json]) -> Json:
    """Combine the results of all runs.

    Args:
        study: Study.
        plan: Model, samples and training.
        runs: Results of `run_job`.
    Returns:
        Object to write.
    """
    found = {(each["variant"], each["seed"], each["part"]): each["points"] for each in runs}
    names = [variant.name for variant in study.variants if any(variant.name == name for name, _, _ in found)]
    seeds = sorted({seed for _, seed, _ in found})
    rows = []
    for name in names:
        for seed in seeds:
            latents = {part: found[name, seed, part] for part in study.parts if (name, seed, part) in found}
            rows.append({"name": name, "seed": seed, "latents": latents})
    settings = {**plan.settings, "seeds": seeds, "clips": sorted(path.stem for path in plan.clips.glob("*.npy"))}
    own = {"latents": {part: measure_own(Job(plan, study.anchor, part, 0)) for part in study.parts}}
    return whole(study, settings=settings, own=own, variants=rows, savings=savings(rows, study.anchor.name))


def savings(rows: Sequence[Json], anchor: str) -> Json:
    """Compare each variant with the full one of the same seed at the same quality, by part.

    Args:
        rows: Results of the runs.
        anchor: Name of the full variant.
    Returns:
        Savings by part.
    """
    points = pd.DataFrame(
        {"name": row["name"], "seed": row["seed"], "part": part, **point}
        for row in rows
        for part, each in row["latents"].items()
        for point in each
    )
    full = points[points["name"] == anchor].drop(columns="name")
    pairs = points[points["name"] != anchor].merge(full, on=["seed", "part", "quality"], suffixes=("", "_full"))
    pairs["percent"] = 100 * (pairs["bits_per_node"] / pairs["bits_per_node_full"] - 1)
    pairs["change"] = pairs["rounding_db"].astype(float) - pairs["rounding_db_full"].astype(float)
    found: Json = {name: {} for name in points["name"].unique() if name != anchor}
    for (name, part), own in pairs.groupby(["name", "part"], sort=False):
        per = {f"per_{key}": [round(x, 2) for x in own.groupby(key)["percent"].mean()] for key in ("seed", "quality")}
        found[name][part] = {"percent": round(statistics.fmean(per["per_seed"]), 2), **per}
        if own["change"].notna().any():
            found[name][part]["rounding_db"] = round(own["change"].mean(), 3)
    return found


def table(results: Json) -> str:
    """Format the bits of the model's own and the full hyperprior, and the additional bits of the others.

    Bits are per node, the mean over qualities and seeds; the others are in per cent (± half the range over seeds), with
    the change of the latents' signal-to-noise ratio (0: equal picture).
    """
    parts = results["own"]["latents"]
    full = [row for row in results["variants"] if row["name"] not in results["savings"]]
    rows = [{"bits per node": "own"} | {part: _bits([results["own"]], part) for part in parts}]
    rows.append({"bits per node": full[0]["name"]} | {part: _bits(full, part) for part in parts})
    for name, found in results["savings"].items():
        rows.append({"bits per node": name} | {part: _cell(saving) for part, saving in found.items()})
    return as_table(rows)


def _bits(rows: Sequence[Json], part: str) -> str:
    return f"{statistics.fmean(point['bits_per_node'] for row in rows for point in row['latents'][part]):.4f}"


def _cell(saving: Json) -> str:
    spread = (max(saving["per_seed"]) - min(saving["per_seed"])) / 2
    about = f" ± {spread:.2f}" if len(saving["per_seed"]) > 1 else ""
    change = f" {saving['rounding_db']:+.3f} dB" if "rounding_db" in saving else ""
    return f"{saving['percent']:+.2f}{about} %{change}"


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
