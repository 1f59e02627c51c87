"""Train the codec with one training setting changed at a time, for equal steps, and compare BD-rates.

    python -m studies.training [--steps 500] [--jobs 2] [--seeds 1 2]

All runs are measured on the same held-out films, over nodes and over ERP pixels weighted by area as in WS-PSNR. An
interrupted run is continued by running it again.

    {"name": "training", "description", "settings",
     "variants": [{"name", "changes": [],
                   part: {"seconds_per_step", "runs": [{"seed", "steps", "seconds", "points": [point]}],
                          "bd_rate": {measure: {"mean", "per_seed": []}}}}],
     "environment"}

A part is "intra" or "inter"; a variant has the parts that differ from the anchor. A point is {"quality", "frame",
"bits_per_node", "psnr", "ws_psnr"}. An undefined BD-rate is null.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.runtime.memory import keep_freed_memory
from studies.ablation.figure import FRAMES
from studies.ablation.runs import finish, list_jobs, prepare, run_job
from studies.ablation.study import Json, Study, as_changes, read_arguments
from studies.ablation.tables import as_table, bd_rates, by_variant, in_percent, read_results, shared_settings, whole

ABOUT = "Compare choices of training: BD-rate and seconds a step."
YARDSTICKS = {
    "intra": {"nodes": (0, "psnr"), "erp": (0, "ws_psnr")},
    "inter": {"nodes": (1, "psnr"), "erp": (1, "ws_psnr"), "second": (2, "psnr")},
}
"""Number of the frame (0 for the I-frame) and key of its decibels, for each BD-rate."""


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    study, args = read_arguments(__file__, ABOUT, arguments)
    if not args.draw:
        prepare(study, args)
        runs = finish(args, list_jobs(study, args, lambda part, _: [study.parts[part]["steps"]]), run_job)
        if not (variants := bring_together(study, runs)):
            raise UsageError(f"{args.runs} holds no finished run of the {study.anchor.name}")
        budgets = {part: {"seconds": None} | own for part, own in study.parts.items()}
        settings = {"anchor": study.anchor.name, **shared_settings(study, args, "intra"), "budgets": budgets}
        write_json(args.out, whole(study, settings=settings, variants=variants))
    print(table(read_results(args.out, study)))


def bring_together(study: Study, runs: Iterable[Json]) -> list[Json]:
    """Combine the results of each variant; runs with seeds that the anchor lacks are ignored.

    Args:
        study: Study.
        runs: Runs of `run_job`.
    Returns:
        Results of each variant.
    """
    found, rows = by_variant(runs), []
    for variant in study.variants:
        row: Json = {"name": variant.name, "changes": as_changes(variant.changes)}
        for part in study.parts:
            anchors = found.get((part, study.anchor.name), {})
            own = {seed: run for seed, run in found.get((part, variant.name), {}).items() if seed in anchors}
            if own:
                row[part] = _compared(part, anchors, own)
        if len(row) > 2:
            rows.append(row)
    return rows


def _compared(part: str, anchors: Mapping[int, Json], own: Mapping[int, Json]) -> Json:
    def points(runs: Mapping[int, Json], frame: int) -> dict[int, list[Json]]:
        return {seed: [point for point in run["points"] if point["frame"] == frame] for seed, run in runs.items()}

    return {
        "seconds_per_step": round(
            statistics.fmean(run["moments"][-1]["seconds"] / run["moments"][-1]["steps"] for run in own.values()), 3
        ),
        "runs": [{"seed": seed, **run["moments"][-1]} for seed, run in own.items()],
        "bd_rate": {
            name: bd_rates(points(anchors, frame), points(own, frame), decibels)
            for name, (frame, decibels) in YARDSTICKS[part].items()
        },
    }


def table(results: Json) -> str:
    """Format BD-rates and seconds per step, one line for each variant."""
    rows = []
    for variant in results["variants"]:
        row = {f"BD-rate against the {results['settings']['anchor']}": variant["name"]}
        for part, yardsticks in YARDSTICKS.items():
            own, letter = variant.get(part), FRAMES[part][0]
            row |= {f"{letter}, {name}": in_percent(own["bd_rate"][name]) if own else "" for name in yardsticks}
            row[f"{letter}, s/step"] = f"{own['seconds_per_step']:.2f}" if own else ""
        rows.append(row)
    return as_table(rows)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
