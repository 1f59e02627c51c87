"""Train the codec with each kind of convolution, alike, and compare what they save and the time they take.

    python -m studies.convolutions [--minutes 100] [--jobs 2] [--seeds 2]

Every choice is trained for I- and for P-frames, once for each seed, until both so many steps and so much of the
processor's time have passed, and measured at both moments on films that none of them sees. Run it again to go on where
it was broken off. --draw draws the figure anew from the results, and trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.sphere import HealpixGrid
from studies.ablation.figure import plot_ablation
from studies.ablation.runs import PARTS, Budget, Job
from studies.ablation.script import add_arguments, chosen, list_jobs, shared_settings, train
from studies.ablation.tables import read_ablation
from studies.convolutions.choices import ANCHOR, VARIANTS
from studies.convolutions.results import NAME, bring_together, convolution_table, measure_milliseconds

MINUTES = 100.0
BUDGETS = {"intra": Budget(1400, 290.0), "inter": Budget(900, 390.0)}
"""Of a run, so that seven choices, two seeds and two parts take MINUTES on two cores."""
DESCRIPTION = (
    "The same codec with different convolutions in its transforms, trained alike; estimated rate and PSNR-YUV (6:1:1) "
    "of patches of test clips, BD-rate by PCHIP. P-frames follow the same fixed I-frames (a quantised block "
    "transform) for every choice; their motion is searched in the same way for all. "
    "Milliseconds are those of the transforms on one frame of the whole sphere, one thread, without entropy coding."
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare convolutions: BD-rate, time and parameters.")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that two seeds take on two cores, about (100)")
    parser.add_argument("--steps", type=int, help="of each run, in place of a number that follows from --minutes")
    add_arguments(parser, VARIANTS, "runs/ablation", "results/convolutions.json")
    parser.add_argument("--figure", type=Path, default=Path("docs/convolutions.svg"))
    parser.add_argument("--draw", action="store_true", help="only draw FIGURE from OUT")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if not args.draw:
        write_json(args.out, ablate(args))
    results = read_ablation(args.out, NAME)
    plot_ablation(results, args.figure)
    print(convolution_table(results))


def ablate(args: argparse.Namespace) -> dict[str, Any]:
    variants = chosen(args, VARIANTS, "minutes", "steps")
    budgets = {part: budget(args, part) for part in PARTS}
    jobs = list_jobs(args, variants, budgets)
    runs = train(args, jobs, in_words)
    return bring_together(describe(jobs), runs, ANCHOR, DESCRIPTION, shared_settings(jobs, budgets))


def budget(args: argparse.Namespace, part: str) -> Budget:
    scale, given = args.minutes / MINUTES, BUDGETS[part]
    return Budget(args.steps or max(1, round(scale * given.steps)), scale * given.seconds)


def in_words(result: dict[str, Any]) -> str:
    steps, seconds = result["equal_steps"], result["equal_time"]
    return (
        f"{result['part']}, {result['variant']}, seed {result['seed']}: {steps['steps']} steps in "
        f"{steps['seconds']:.0f} s, {seconds['steps']} steps in {seconds['seconds']:.0f} s"
    )


def describe(jobs: list[Job]) -> list[dict[str, Any]]:
    """Configuration, parameters and time of each variant, on the whole sphere."""
    settings = {job.variant.name: job.settings for job in jobs}
    grid = HealpixGrid.cached(jobs[0].settings.data.nside)
    networks = {name: SphereDVC(each.model, grid).eval() for name, each in settings.items()}
    times = measure_milliseconds(networks)
    return [
        {
            "name": name,
            "config": network.config.to_dict(),
            "parameters": {part: sum(p.numel() for p in getattr(network, part).parameters()) for part in PARTS},
            "milliseconds": times[name],
        }
        for name, network in networks.items()
    ]


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
