"""Results of a comparison at equal processor time: optimisers, convolutions and widths.

    {"name": "equal_time", "description", "environment", "intra": PART, "inter": PART}
    PART: {"settings",
           "variants": [{"name", "changes": [], "parameters", "seconds_per_step", "bd_rate": {"mean", "per_seed": []},
                         "runs": [{"seed", "moments": [{"after", "steps", "seconds", "loss", "losses": []}],
                                   "points": [point]}]}]}

A loss is that of held-out frames "after" so many seconds, steps times "seconds_per_step". A point is {"quality",
"frame", "bits_per_node", "psnr", "ws_psnr"}, measured at the last moment; a run that was broken off has fewer moments
and no points. A BD-rate is against the anchor, and null without points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepsphere_codec.evaluation.environment import environment
from studies.ablation.tables import Json, bd_rates, in_percent

NAME = "equal_time"
DESCRIPTION = (
    "I-frames, and P- and B-frames behind I-frames of a cosine transform, trained from nothing on one thread, with "
    "equal processor time for every choice: as many steps as fit, with the time of a step, samples included, measured "
    "of all choices in turn. The learning rate falls along a cosine to a hundredth at the last moment. Loss = bits per "
    "node + lambda · 255² · squared error (Y, Cb and Cr weighted 6 : 1 : 1) of patches of test clips, with the running "
    "mean of the weights, averaged over qualities; the rate is that of rounded latents, without motion's bits. BD-rate "
    "by PCHIP on PSNR-YUV (6:1:1) of the same patches, at the last moment."
)


def bring_together(
    variants: Sequence[Json], runs: Iterable[Json], settings: Mapping[str, Any], earlier: Json | None = None
) -> Json:
    """Gather finished runs of one part into its results.

    Args:
        variants: {"name", "changes", "parameters", "seconds_per_step"} of each choice.
        runs: Results of `training.equal_time.train_to`.
        settings: Settings that all choices share; "moments" are seconds, rising, and "anchor" is the name of the choice
            that BD-rates are against, seed by seed.
        earlier: Results with the same settings, which stay but for runs that are there anew.
    Returns:
        The results, without choices that have no finished run.
    """
    by_name: dict[str, dict[int, Json]] = {}
    for variant in earlier["variants"] if earlier else []:
        by_name[variant["name"]] = {run["seed"]: run for run in variant["runs"]}
    known = {variant["name"] for variant in variants}
    variants = [*(each for each in (earlier["variants"] if earlier else []) if each["name"] not in known), *variants]
    for run in sorted(runs, key=lambda run: run["seed"]):
        moments = [{"after": after} | each for after, each in zip(settings["moments"], run["moments"], strict=False)]
        one = {"seed": run["seed"], "moments": moments, "points": run["points"]}
        by_name.setdefault(run["variant"], {})[run["seed"]] = one
    anchors = by_name.get(settings["anchor"], {})
    tables = [
        variant | {"bd_rate": _bd_rate(anchors, own), "runs": [own[seed] for seed in sorted(own)]}
        for variant in variants
        if (own := by_name.get(variant["name"]))
    ]
    return {"settings": dict(settings), "variants": tables}


def whole(parts: Mapping[str, Json]) -> Json:
    """The results of all parts."""
    return {"name": NAME, "description": DESCRIPTION, **parts, "environment": environment()}


def _bd_rate(anchors: Mapping[int, Json], runs: Mapping[int, Json]) -> Json:
    """BD-rate of the runs that have points; so has the anchor, at the same moment."""
    shared = [seed for seed in runs if seed in anchors and anchors[seed]["points"] and runs[seed]["points"]]
    return bd_rates((anchors[seed]["points"], runs[seed]["points"]) for seed in shared)


def loss_table(results: Json) -> str:
    """Format the results as text: losses at each moment, steps, parameters and BD-rate, a line for each run."""
    width = max(len(variant["name"]) for variant in results["variants"])
    seconds = results["settings"]["moments"]
    heads = [*(f"{each:.0f} s" for each in seconds), "steps", "s/step", "parameters", "BD-rate"]
    lines = ["held-out loss".ljust(width) + "".join(head.rjust(12) for head in heads)]
    for variant in results["variants"]:
        for run in variant["runs"]:
            losses = [f"{moment['loss']:.4f}" for moment in run["moments"]]
            losses += [""] * (len(seconds) - len(losses))
            size = [f"{variant['seconds_per_step']:.3f}", f"{variant['parameters']:,}", in_percent(variant["bd_rate"])]
            cells = (*losses, str(run["moments"][-1]["steps"]), *size)
            lines.append(variant["name"].ljust(width) + "".join(cell.rjust(12) for cell in cells))
    return "\n".join(lines)
