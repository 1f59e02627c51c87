"""Train the codec with each kind of convolution, and compare BD-rates and the time of the transforms.

    python -m studies.convolutions [--minutes 100] [--jobs 2] [--seeds 1 2]

Every variant is trained for I- and for P-frames, once for each seed, and measured after equal steps and after equal
processor time on held-out films. An interrupted run is continued by running it again.

    {"name": "convolutions", "description", "settings",
     "variants": [{"name", "config", "parameters": {part}, "milliseconds": {part},
                   part: {moment: [{"seed", "steps", "seconds", "points": [point]}],
                          "bd_rate_" + moment: {"mean", "per_seed": []}}}],
     "environment"}

A part is "intra" or "inter", a moment "equal_steps" or "equal_time". A point has "quality", "bits_per_node" and "psnr"
at least. An undefined BD-rate is null.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import check_positive, run
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.memory import References
from deepsphere_codec.models.pyramid import LATENT_DEPTH
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.sphere import HealpixGrid
from studies.ablation.costs import step_costs, steps_after
from studies.ablation.figure import FRAMES, Panel, Series, plot_panels
from studies.ablation.runs import Job, finish, list_jobs, prepare, run_job
from studies.ablation.study import Json, Study, read_arguments
from studies.ablation.tables import as_table, bd_rates, by_variant, read_results, shared_settings, whole

ABOUT = "Compare convolutions: BD-rate, time and parameters."
MOMENTS = {"equal_steps": "after equal steps", "equal_time": "after equal training time"}
MINUTES = 100.0
"""Duration of the budgets in study.toml, minutes on two cores."""
ROUNDS = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this study."""
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that two seeds take on two cores, about (100)")


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    study, args = read_arguments(__file__, ABOUT, arguments, add_options)
    check_positive(args, "minutes")
    if not args.draw:
        write_json(args.out, ablate(study, args))
    results = read_results(args.out, study)
    plot(results, args.figure)
    print(table(results))


def ablate(study: Study, args: argparse.Namespace) -> Json:
    """Run the study and return its results.

    Args:
        study: Study.
        args: Options of `read_arguments`.
    Returns:
        Results.
    """
    prepare(study, args)
    budgets = {part: budget(study, args, part) for part in study.parts}
    costs = step_costs(args, list_jobs(study, args, lambda *_: [1]), {})
    steps = {
        (part, variant.name): {
            "equal_steps": each["steps"],
            "equal_time": steps_after(each["seconds"], costs[part][variant.name]),
        }
        for part, each in budgets.items()
        for variant in study.variants
    }
    jobs = list_jobs(study, args, lambda part, name: list(steps[part, name].values()))
    runs = finish(args, jobs, run_job)
    settings = {"anchor": study.anchor.name, **shared_settings(study, args, "intra"), "budgets": budgets}
    return whole(study, settings=settings, variants=bring_together(describe(jobs), runs, steps, study.anchor.name))


def budget(study: Study, args: argparse.Namespace, part: str) -> Json:
    """Compute the steps and the seconds of a run.

    Args:
        study: Study.
        args: Options of `read_arguments`.
        part: Part of the codec.
    Returns:
        Steps and seconds.
    """
    scale, own = args.minutes / MINUTES, study.parts[part]
    return {"steps": args.steps or max(1, round(scale * own["steps"])), "seconds": scale * own["seconds"]}


def describe(jobs: Iterable[Job]) -> list[Json]:
    """List configuration, parameters and time of each variant, on the whole sphere."""
    settings = {job.variant.name: job.settings for job in jobs}
    networks = {
        name: SphereDVC(each.model, HealpixGrid.cached(each.data.nside)).eval() for name, each in settings.items()
    }
    times = measure_milliseconds(networks)
    return [
        {
            "name": name,
            "config": network.config.to_dict(),
            "parameters": {part: sum(p.numel() for p in getattr(network, part).parameters()) for part in FRAMES},
            "milliseconds": times[name],
        }
        for name, network in networks.items()
    ]


@torch.inference_mode()
def measure_milliseconds(networks: Mapping[str, SphereDVC], rounds: int = ROUNDS) -> dict[str, Json]:
    """Measure the time of the transforms for one frame; medians over rounds.

    For an I-frame these are analysis and synthesis; for a P-frame prediction, analysis and synthesis. Motion search and
    entropy coder are not included. Processor time is measured, which is real time for one undisturbed thread; the
    networks take turns, so that other load affects all alike.

    Args:
        networks: Networks by name.
        rounds: Number of rounds.
    Returns:
        Milliseconds, {name: {"intra", "inter"}}.
    """
    times: dict[str, dict[str, list[float]]] = {name: {part: [] for part in FRAMES} for name in networks}
    for turn in range(rounds + 1):
        for name, network in networks.items():
            for part, code in (("intra", _intra), ("inter", _inter)):
                seconds = _seconds(code, network)
                if turn > 0:  # the first round warms up
                    times[name][part].append(1000 * seconds)
    return {name: {part: round(statistics.median(each[part]), 1) for part in FRAMES} for name, each in times.items()}


def _seconds(code: Callable[[SphereDVC, torch.Tensor], object], network: SphereDVC) -> float:
    npix = network.pyramid.warp(0).centers.shape[0]
    x = torch.rand(2, 1, npix, 3, generator=torch.Generator().manual_seed(1))
    start = time.process_time()
    code(network, x)
    return time.process_time() - start


def _intra(network: SphereDVC, x: torch.Tensor) -> torch.Tensor:
    return network.intra.synthesise(network.intra.analyse(x[0]), x.new_tensor([4.0]))


def _inter(network: SphereDVC, x: torch.Tensor) -> torch.Tensor:
    codec = network.inter
    latents = x.new_zeros(1, network.pyramid.grids[LATENT_DEPTH].npix, network.config.intra_latents)
    seen = codec.see(codec.predict(References(codec.begin(x[0], latents)), None))
    return codec.reconstruct(codec.analyse_residual(x[1], seen), seen, x.new_tensor([4.0]))


def bring_together(
    rows: Iterable[Json], runs: Iterable[Json], steps: Mapping[tuple[str, str], Mapping[str, int]], anchor: str
) -> list[Json]:
    """Combine the results of each variant.

    Args:
        rows: {"name", "config", "parameters", "milliseconds"} of each variant.
        runs: Runs of `run_job`.
        steps: Steps of each moment, by part and name.
        anchor: Name of the variant that BD-rates refer to, seed by seed.
    Returns:
        Results of each variant.
    """
    found = by_variant(runs)

    def at(part: str, name: str, moment: str) -> dict[int, Json]:
        own = found.get((part, name), {}).items()
        return {s: each for s, run in own for each in run["moments"] if each["steps"] == steps[part, name][moment]}

    tables = []
    for row in rows:
        for part in FRAMES:
            own = {moment: at(part, row["name"], moment) for moment in MOMENTS}
            row = row | {
                part: {moment: [{"seed": seed, **each} for seed, each in of.items()] for moment, of in own.items()}
            }
            for moment, of in own.items():
                anchors = at(part, anchor, moment)
                row[part][f"bd_rate_{moment}"] = bd_rates(_points(anchors), _points(of))
        tables.append(row)
    return tables


def _points(runs: Mapping[int, Json]) -> dict[int, list[Json]]:
    return {seed: run["points"] for seed, run in runs.items()}


def plot(results: Json, path: str | Path) -> None:
    """Draw BD-rate against milliseconds per frame: one row for I- and one for P-frames, one column for each moment.

    A bar connects the best and the worst seed.

    Args:
        results: Results of the study.
        path: File to write, ends in .svg or .png.
    """
    settings, seeds = results["settings"], len(results["variants"][0]["intra"]["equal_steps"])
    x_label = f"ms a frame, whole sphere at nside {settings['nside']}, one thread, no entropy coding"
    rows = [
        [
            Panel(f"{FRAMES[part]}, {MOMENTS[moment]}", x_label, series(results, part, moment), True)
            for moment in MOMENTS
        ]
        for part in FRAMES
    ]
    plot_panels(
        rows, path, f"BD-rate against {settings['anchor']} (lower is better), mean of {seeds} seeds (bar: each)"
    )


def series(results: Json, part: str, moment: str) -> list[Series]:
    """Make the points of the variants that have a BD-rate.

    Args:
        results: Results of the study.
        part: Part of the codec.
        moment: "equal_steps" or "equal_time".
    Returns:
        One series for each variant.
    """
    rates = {row["name"]: (row, row[part][f"bd_rate_{moment}"]) for row in results["variants"]}
    return [
        Series(
            name, name, [row["milliseconds"][part]], [rate["mean"]], [(min(rate["per_seed"]), max(rate["per_seed"]))]
        )
        for name, (row, rate) in rates.items()
        if rate["mean"] is not None
    ]


def table(results: Json) -> str:
    """Format BD-rates, milliseconds and parameters, one line for each variant."""
    rows = []
    for variant in results["variants"]:
        row = {f"BD-rate against {results['settings']['anchor']}": variant["name"]}
        for part, frames in FRAMES.items():
            for moment in MOMENTS:
                rate = variant[part][f"bd_rate_{moment}"]["mean"]
                row[f"{frames[0]}, {moment.replace('_', ' ')}"] = "-" if rate is None else f"{rate:+.1f} %"
            row[f"{frames[0]}, ms"] = f"{variant['milliseconds'][part]:.0f}"
            row[f"{frames[0]}, params"] = f"{variant['parameters'][part] / 1e6:.2f} M"
        rows.append(row)
    return as_table(rows)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
