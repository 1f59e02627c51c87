"""What choices of training are worth: the runs of an ablation brought together.

    {"name": "training", "description", "settings",
     "variants": [{"name", "changes": [],
                   part: {"seconds_per_step", "runs": [{"seed", "steps", "seconds", "points": [point]}],
                          "bd_rate": {measure: {"mean", "per_seed": []}}}}],
     "environment"}

A part is "intra" or "inter"; a variant has those where it is another than the anchor. A point is {"quality", "frame",
"bits_per_node", "psnr", "ws_psnr"}. A BD-rate that cannot be had is null.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deepsphere_codec.evaluation.environment import environment
from studies.ablation.tables import PARTS, Json, bd_rates, in_percent

NAME = "training"


class Yardstick(NamedTuple):
    """What a BD-rate is of.

    Attributes:
        frame: 0 for I-frames, else the number of the P-frame behind one.
        decibels: Key of a point.
    """

    name: str
    frame: int
    decibels: str


YARDSTICKS = {
    "intra": (Yardstick("nodes", 0, "psnr"), Yardstick("erp", 0, "ws_psnr")),
    "inter": (Yardstick("nodes", 1, "psnr"), Yardstick("erp", 1, "ws_psnr"), Yardstick("second", 2, "psnr")),
}


def bring_together(
    variants: Sequence[Json], runs: Iterable[Json], anchor: str, description: str, settings: Mapping[str, Any]
) -> Json:
    """The results, ready to be written.

    Args:
        variants: {"name", "changes"} of each.
        runs: {"variant", "part", "seed", "equal_steps"} of each; those of seeds that the anchor lacks are left aside.
        anchor: Name of the variant that BD-rates are against, seed by seed.
    """
    found: dict[tuple[str, str], dict[int, Json]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        found.setdefault((run["variant"], run["part"]), {})[run["seed"]] = run["equal_steps"]
    tables = []
    for variant in variants:
        both = {part: (found.get((anchor, part), {}), found.get((variant["name"], part), {})) for part in PARTS}
        parts = {part: _table(part, *pair) for part, pair in both.items() if pair[0].keys() & pair[1].keys()}
        if parts:
            tables.append(variant | parts)
    head = {"name": NAME, "description": description, "settings": {"anchor": anchor, **settings}}
    return head | {"variants": tables, "environment": environment()}


def _table(part: str, anchor: Mapping[int, Json], others: Mapping[int, Json]) -> Json:
    runs = {seed: run for seed, run in others.items() if seed in anchor}
    rates = {
        each.name: bd_rates(((_of(anchor[seed], each), _of(runs[seed], each)) for seed in runs), each.decibels)
        for each in YARDSTICKS[part]
    }
    seconds = statistics.fmean(run["seconds"] / run["steps"] for run in runs.values())
    return {
        "seconds_per_step": round(seconds, 3),
        "runs": [{"seed": seed, **run} for seed, run in runs.items()],
        "bd_rate": rates,
    }


def _of(run: Json, yardstick: Yardstick) -> list[Json]:
    return [point for point in run["points"] if point["frame"] == yardstick.frame]


def training_table(results: Json) -> str:
    """As text: BD-rates and seconds a step, a line for each variant."""
    width = max(len(variant["name"]) for variant in results["variants"])
    heads = [
        f"{'I' if part == 'intra' else 'P'} {what}"
        for part in PARTS
        for what in (*(each.name for each in YARDSTICKS[part]), "s/step")
    ]
    lines = [
        f"BD-rate against the {results['settings']['anchor']} (negative: fewer bits), ± half the range over seeds",
        " " * width + "".join(head.rjust(15) for head in heads),
    ]
    for variant in results["variants"]:
        cells = [cell for part in PARTS for cell in _cells(variant, part)]
        lines.append(variant["name"].ljust(width) + "".join(cell.rjust(15) for cell in cells))
    return "\n".join(lines)


def _cells(variant: Json, part: str) -> list[str]:
    if part not in variant:
        return [""] * (len(YARDSTICKS[part]) + 1)
    rates = [in_percent(variant[part]["bd_rate"][each.name]) for each in YARDSTICKS[part]]
    return [*rates, f"{variant[part]['seconds_per_step']:.2f}"]
