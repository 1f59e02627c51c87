"""Train the codec with one choice of training changed at a time, for as many steps, and compare what they save.

    python -m studies.training [--steps 500] [--jobs 2] [--seeds 2]

Augmentation, what counts as an error, margins and chains. All is measured on the same films, which none of the
runs sees, both over nodes and over ERP pixels weighted by area, as WS-PSNR is. Run it again to go on where it was
broken off; --finished trains nothing and brings together the runs that came to their end.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.runtime.memory import keep_freed_memory
from studies.ablation.runs import PARTS, Budget, finished
from studies.ablation.script import add_arguments, chosen, list_jobs, shared_settings, train
from studies.training.choices import ANCHOR, VARIANTS
from studies.training.results import bring_together, training_table

STEPS = 500
FRAMES = 3
"""Of a sample to measure on: the second P-frame tells what chains are good for."""
DESCRIPTION = (
    "The same codec, its training changed in one thing at a time, for as many steps; estimated rate and PSNR-YUV "
    "(6:1:1) of patches of test clips, over nodes ('nodes', 'psnr') and over ERP pixels weighted by area ('erp', "
    "'ws_psnr'), BD-rate by PCHIP. P-frames follow the same fixed I-frames (a quantised block transform) for every "
    "choice; the first P-frame is compared, and the one after it ('second', over nodes). Patches count with their "
    "borders, which a training with a margin does not learn. Seconds are the processor's, one thread, samples included."
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare choices of training: BD-rate and seconds a step.")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each run ({STEPS})")
    add_arguments(parser, VARIANTS, "runs/ablation_training", "results/training.json")
    parser.add_argument("--finished", action="store_true", help="train nothing: take the runs that are there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    variants = chosen(args, VARIANTS, "steps")
    budgets = dict.fromkeys(PARTS, Budget(args.steps))
    jobs = list_jobs(args, variants, budgets, FRAMES)
    runs = [one for one in map(finished, jobs) if one] if args.finished else train(args, jobs, in_words)
    rows = [{"name": each.name, "changes": list(each.changes)} for each in variants]
    results = bring_together(rows, runs, ANCHOR, DESCRIPTION, shared_settings(jobs, budgets))
    if not results["variants"]:
        raise UsageError(f"{args.runs} holds no finished run of the {ANCHOR}")
    write_json(args.out, results)
    print(training_table(results))


def in_words(result: dict[str, Any]) -> str:
    found = result["equal_steps"]
    return f"{result['part']}, {result['variant']}, seed {result['seed']}: {found['seconds']:.0f} s"


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
