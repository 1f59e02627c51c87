"""What ablations share: BD-rates seed by seed, and the file that results live in."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.bdrate import bd_rate
from deepsphere_codec.evaluation.json_file import read_json
from deepsphere_codec.evaluation.results import Point

PARTS = ("intra", "inter")

Json = dict[str, Any]


def bd_rates(pairs: Iterable[tuple[Sequence[Json], Sequence[Json]]], decibels: str = "psnr") -> Json:
    """Per cent more bits than the anchor at equal PSNR, by PCHIP: {"mean", "per_seed"}, null where there is none.

    Args:
        pairs: For each seed, points of the anchor and of the other.
        decibels: Key of the points that says how good they are.
    """
    per_seed = [_bd_rate(_curve(anchor, decibels), _curve(test, decibels)) for anchor, test in pairs]
    known = [value for value in per_seed if value is not None]
    mean = round(statistics.fmean(known), 2) if known and len(known) == len(per_seed) else None
    return {"mean": mean, "per_seed": per_seed}


def _curve(points: Sequence[Json], decibels: str) -> list[Point]:
    return [Point(point["quality"], point["bits_per_node"], point[decibels]) for point in points]


def _bd_rate(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    value = bd_rate(anchor, test).pchip
    return None if value is None else round(value, 2)


def in_percent(rates: Json) -> str:
    """A BD-rate as text: its mean over seeds, ± half of their range."""
    if rates["mean"] is None:
        return "-"
    spread = (max(rates["per_seed"]) - min(rates["per_seed"])) / 2
    return f"{rates['mean']:+.1f}" + (f" ± {spread:.1f} %" if len(rates["per_seed"]) > 1 else " %")


def read_ablation(path: Path, name: str) -> Json:
    """Read the results of an ablation.

    Args:
        name: Of the results, as they give it themselves.
    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    results = read_json(path)
    if not isinstance(results, dict) or results.get("name") != name or not isinstance(results.get("variants"), list):
        raise UsageError(f"{path} holds no results of an ablation; python -m studies.{name} makes them")
    return results
