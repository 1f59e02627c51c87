"""A report's figures as JSON: what each codec reaches, and one of them (the default) against each of the others.

    {"version", "command", "films", "frames", "default", "codecs": [{"name", "codec", "weights", "frames", "mean",
     "training", "cost", "default_against": {metric: {"mean_of_clips", "low", "high", "akima", "clips", "mean_curve",
     "overlap"}}}, …], "ceilings": {name: dB}, "missing": […]}

BD-rates are per cent: negative where the default needs fewer bits than the other codec.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepsphere_codec.evaluation.bootstrap import BdIntervals, bd_intervals
from deepsphere_codec.evaluation.report.gather import Gathered
from deepsphere_codec.evaluation.report.metric import Metric
from deepsphere_codec.evaluation.results import KEYS, Results
from deepsphere_codec.models.macs import Complexity
from deepsphere_codec.runtime.atomic import atomic_output

VERSION = 1


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary to a JSON file atomically.

    Args:
        path: File to write.
        summary: Contents in JSON types.
    Raises:
        UsageError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path, force=True) as place:
        place.write_text(text, encoding="utf-8")


def summarise(
    gathered: Gathered,
    metrics: Sequence[Metric],
    cards: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, Complexity],
    missing: Sequence[object],
    default: str,
    command: str,
) -> dict[str, Any]:
    """Make the summary of a report.

    Args:
        gathered: All results.
        metrics: Metrics to compare in.
        cards: Cards of models by codec, with the history of their training.
        costs: Complexity of models by codec.
        missing: Data that the report lacks.
        default: Codec to compare with each of the others.
        command: Command line that made the report.
    Returns:
        Object for `write_summary`.
    """
    compared = gathered.codec(default)
    fit = [metric for metric in metrics if not metric.excess]
    return {
        "version": VERSION,
        "command": command,
        "films": gathered.clips,
        "frames": sorted({each.settings["frames"] for each in gathered.codecs if each.settings.get("frames")}),
        "default": default,
        "codecs": [
            _codec(each, compared, fit, cards.get(each.codec, {}))
            | {"cost": _cost(costs.get(each.name, costs.get(each.codec)))}
            for each in gathered.codecs
        ],
        "ceilings": {each.name: max(point.ws_psnr_yuv for point in each.mean) for each in gathered.ceilings},
        "missing": [str(each) for each in missing],
    }


def training_steps(card: Mapping[str, Any]) -> dict[str, int]:
    """Sum the training steps of all stages, by the part of the network that was trained."""
    steps: dict[str, int] = {}
    for stage in card.get("training", {}).values():
        if isinstance(stage, Mapping) and "part" in stage:
            steps[stage["part"]] = steps.get(stage["part"], 0) + stage["steps"]
    return steps


def _training(card: Mapping[str, Any]) -> dict[str, Any]:
    """Training steps, and the processor minutes if they are known for all stages."""
    stages = [stage for stage in card.get("training", {}).values() if isinstance(stage, Mapping)]
    minutes = [stage["cpu_minutes"] for stage in stages if "cpu_minutes" in stage]
    known = {"cpu_minutes": round(sum(minutes), 1)} if stages and len(minutes) == len(stages) else {}
    return {"steps": training_steps(card), **known, "hardware": card.get("hardware")}


def _codec(
    results: Results, default: Results | None, metrics: Sequence[Metric], card: Mapping[str, Any]
) -> dict[str, Any]:
    against = {} if default in (None, results) else {m.key: _against(default, results, m.field) for m in metrics}
    return {
        "name": results.name,
        "codec": results.codec,
        "weights": results.settings.get("weights_hash"),
        "mean": [{KEYS[name]: value for name, value in asdict(point).items()} for point in results.mean],
        "training": _training(card) if card else None,
        "default_against": {key: value for key, value in against.items() if value},
    }


def _cost(cost: Complexity | None) -> dict[str, Any] | None:
    return cost and {"parameters": cost.parameters, "macs": cost.macs._asdict()}


def _against(default: Results, other: Results, metric: str) -> dict[str, Any] | None:
    """BD-rates of the default against another codec; None if the curves do not overlap."""
    bd: BdIntervals = bd_intervals(other, default, metric)
    pchip, akima = bd.mean_of_clips
    if pchip is None:
        return None
    return {
        "mean_of_clips": pchip.estimate,
        "low": pchip.low,
        "high": pchip.high,
        "akima": akima and akima.estimate,
        "clips": len(bd.per_clip),
        "mean_curve": bd.mean_curve.pchip,
        "overlap": bd.mean_curve.overlap,
    }
