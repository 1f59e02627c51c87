"""What convolutions are worth: the runs of an ablation brought together, and the time that each choice takes.

    {"name": "convolutions", "description", "settings",
     "variants": [{"name", "config", "parameters": {part}, "milliseconds": {part},
                   part: {moment: [{"seed", "steps", "seconds", "points": [point]}],
                          "bd_rate_" + moment: {"mean", "per_seed": []}}}],
     "environment"}

A part is "intra" or "inter", a moment "equal_steps" or "equal_time". A point has "quality", "bits_per_node" and "psnr"
at least. A BD-rate that cannot be had is null.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.pyramid import LATENT_DEPTH
from studies.ablation.tables import PARTS, Json, bd_rates

NAME = "convolutions"
MOMENTS = ("equal_steps", "equal_time")
ROUNDS = 5


@torch.inference_mode()
def measure_milliseconds(networks: Mapping[str, SphereDVC], rounds: int = ROUNDS) -> dict[str, Json]:
    """Milliseconds that the transforms take on one frame: {name: {"intra", "inter"}}, medians.

    Of an I-frame, analysis and synthesis; of a P-frame, prediction, analysis and synthesis; the search for motion and
    the entropy coder are left out. It is the processor's time that counts, which is the clock's for one thread that is
    let alone; the networks take turns, so that a busy machine slows them alike.
    """
    times: dict[str, dict[str, list[float]]] = {name: {part: [] for part in PARTS} for name in networks}
    for turn in range(rounds + 1):
        for name, network in networks.items():
            for part, run in (("intra", _intra), ("inter", _inter)):
                seconds = _seconds(run, network)
                if turn > 0:  # the first round warms up
                    times[name][part].append(1000 * seconds)
    return {name: {part: round(statistics.median(each[part]), 1) for part in PARTS} for name, each in times.items()}


def _seconds(run: Callable[[SphereDVC, torch.Tensor], object], network: SphereDVC) -> float:
    npix = network.pyramid.warp(0).centers.shape[0]
    x = torch.rand(2, 1, npix, 3, generator=torch.Generator().manual_seed(1))
    start = time.process_time()
    run(network, x)
    return time.process_time() - start


def _intra(network: SphereDVC, x: torch.Tensor) -> torch.Tensor:
    return network.intra.synthesise(network.intra.analyse(x[0]), x.new_tensor([4.0]))


def _inter(network: SphereDVC, x: torch.Tensor) -> torch.Tensor:
    codec = network.inter
    latents = x.new_zeros(1, network.pyramid.grids[LATENT_DEPTH].npix, network.config.intra_latents)
    seen = codec.see(codec.predict(References(codec.begin(x[0], latents)), None))
    return codec.reconstruct(codec.analyse_residual(x[1], seen), seen, x.new_tensor([4.0]))


def bring_together(
    variants: Sequence[Json], runs: Sequence[Json], anchor: str, description: str, settings: Mapping[str, Any]
) -> Json:
    """The results of an ablation, ready to be written.

    Args:
        variants: {"name", "config", "parameters", "milliseconds"} of each.
        runs: {"variant", "part", "seed", "equal_steps", "equal_time"} of each.
        anchor: Name of the variant that BD-rates are against, seed by seed.
    """
    found = {(run["variant"], run["part"], run["seed"]): run for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    tables = [
        variant | {part: _table(found, variant["name"], anchor, part, seeds) for part in PARTS} for variant in variants
    ]
    head = {"name": NAME, "description": description, "settings": {"anchor": anchor, **settings}}
    return head | {"variants": tables, "environment": environment()}


def _table(found: Mapping[tuple[str, str, int], Json], name: str, anchor: str, part: str, seeds: Sequence[int]) -> Json:
    table: Json = {}
    for moment in MOMENTS:
        table[moment] = [{"seed": seed, **found[name, part, seed][moment]} for seed in seeds]
    for moment in MOMENTS:
        anchors, tests = ([found[each, part, seed][moment]["points"] for seed in seeds] for each in (anchor, name))
        table[f"bd_rate_{moment}"] = bd_rates(zip(anchors, tests, strict=True))
    return table


def convolution_table(results: Json) -> str:
    """As text: BD-rates, milliseconds and parameters, a line for each variant."""
    width = max(len(variant["name"]) for variant in results["variants"])
    heads = [f"{label} {what}" for label in ("I", "P") for what in ("steps", "time", "ms", "params")]
    anchor = results["settings"]["anchor"]
    lines = [
        f"BD-rate against {anchor}, after equal steps and after equal time (negative: fewer bits)",
        " " * width + "".join(head.rjust(11) for head in heads),
    ]
    for variant in results["variants"]:
        cells = []
        for part in PARTS:
            rates = [variant[part][f"bd_rate_{moment}"]["mean"] for moment in MOMENTS]
            cells += ["-" if rate is None else f"{rate:+.1f} %" for rate in rates]
            cells += [f"{variant['milliseconds'][part]:.0f}", f"{variant['parameters'][part] / 1e6:.2f} M"]
        lines.append(variant["name"].ljust(width) + "".join(cell.rjust(11) for cell in cells))
    return "\n".join(lines)
