"""Results of a study: runs by variant, BD-rates by seed, the file, and the table that its command prints."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.bdrate import bd_rate
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.json_file import read_json
from deepsphere_codec.evaluation.results import Point
from studies.ablation.runs import list_jobs
from studies.ablation.study import Json, Study

Runs = dict[tuple[str, str], dict[int, Json]]
"""Results of runs by part, variant and seed."""


def by_variant(runs: Iterable[Json]) -> Runs:
    """Group runs by part and variant, then by seed."""
    found: Runs = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        found.setdefault((run["part"], run["variant"]), {})[run["seed"]] = run
    return found


def bd_rates(
    anchors: Mapping[int, Sequence[Json]], others: Mapping[int, Sequence[Json]], decibels: str = "psnr"
) -> Json:
    """Compute BD-rates at equal PSNR by PCHIP, in per cent.

    Args:
        anchors: Points of the anchor by seed.
        others: Points of the other variant; only seeds for which both have points are compared.
        decibels: Key of the points' PSNR.
    Returns:
        {"mean", "per_seed"}; null if there is none.
    """
    seeds = [seed for seed in others if anchors.get(seed) and others[seed]]
    per_seed = [bd_rate(_curve(anchors[seed], decibels), _curve(others[seed], decibels)).pchip for seed in seeds]
    per_seed = [None if value is None else round(value, 2) for value in per_seed]
    known = [value for value in per_seed if value is not None]
    mean = round(statistics.fmean(known), 2) if known and len(known) == len(per_seed) else None
    return {"mean": mean, "per_seed": per_seed}


def _curve(points: Sequence[Json], decibels: str) -> list[Point]:
    return [Point(point["quality"], point["bits_per_node"], point[decibels]) for point in points]


def in_percent(rates: Json) -> str:
    """Format a BD-rate: its mean over seeds, ± half of their range."""
    if rates["mean"] is None:
        return "-"
    spread = (max(rates["per_seed"]) - min(rates["per_seed"])) / 2
    return f"{rates['mean']:+.1f}" + (f" ± {spread:.1f} %" if len(rates["per_seed"]) > 1 else " %")


def shared_settings(study: Study, args: argparse.Namespace, part: str) -> Json:
    """Return the settings that all variants of a part share, in the format of the results.

    Args:
        study: Study.
        args: Options of `read_arguments`.
        part: Part of the codec.
    Returns:
        Settings.
    """
    settings = list_jobs(study, args, lambda *_: [1])[0]._replace(part=part).origin
    assert isinstance(settings.data, PatchSettings), "variants are of the sphere"
    return {
        "qualities": list(study.qualities),
        "nside": settings.data.nside,
        "patch": settings.data.side,
        "batch": settings.train.batch,
        "rate": settings.train.rate,
        "precision": settings.train.precision,
        "clips": sorted(path.stem for path in args.prepared_test.glob("*.npy")),
    }


def whole(study: Study, **contents: object) -> Json:
    """Assemble the results of a study.

    Args:
        study: Study.
        **contents: Values by key.
    Returns:
        Object to write.
    """
    return {"name": study.name, "description": study.description, **contents, "environment": environment()}


def read_results(path: Path, study: Study) -> Json:
    """Read the results of a study.

    Args:
        path: JSON file.
        study: Study that the results belong to.
    Returns:
        Results.
    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    results = read_json(path)
    if not isinstance(results, dict) or results.get("name") != study.name:
        raise UsageError(f"{path} holds no results of this study; python -m studies.{study.name} makes them")
    return results


def as_table(rows: Iterable[Mapping[str, str]]) -> str:
    """Format rows of cells by column as text, with the first column left-aligned; missing cells are empty."""
    table = pd.DataFrame.from_records(list(rows)).fillna("")
    first = table.columns[0]
    width = max(map(len, table[first]), default=0)
    return table.to_string(index=False, formatters={first: f"{{:<{width}}}".format})
