#!/usr/bin/env python3
"""Time training steps of this version and of another commit's side by side: samples per second on one core.

    scripts/time_steps.py COMMIT [--prepared runs/clips] [--rounds 3] [--out results/steps.json]

The other commit is checked out to a temporary folder. Both train the default model on the same films, with Muon in
bfloat16, or with Adam in float32 if bfloat16 is slow, each with its own code, in processes of one thread that take
turns; the result is the median of the turns. Processor time is measured, including samples. This version stores its
samples and their trees, which exist when its turn begins, as in all but the first pass of a long training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
STEPS, WARM_UP = 12, 4
CHAINS = {"data.frames": 12, "data.gap": 2, "train.chain": 3, "train.skipped": 0.3, "train.relocate": 50}
PARTS: dict[str, dict[str, Any]] = {"intra": {"train.batch": 4}, "inter": {"train.batch": 2, **CHAINS}}
OWN = {"intra": ["train.batch=8"], "inter": ["train.batch=4"]}
"""Settings of this version alone: larger batches, which distribute the fixed costs of a step."""
DESCRIPTION = (
    "Samples a second of training steps on one core, of this version and of another commit, each with the default "
    "model of its own; processes take turns, medians over the turns. 'changes' are this version's settings beside "
    "those that both have; 'precision' bfloat16 stands for Muon, float32 for Adam."
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time training steps beside another commit's.")
    parser.add_argument("commit", help="to compare with; 'this' measures this version alone, for the other process")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="prepared films (runs/clips)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of this version")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "steps.json")
    args = parser.parse_args()
    if args.commit == "this":
        print(json.dumps(samples_a_second(args.part, args.prepared, args.precision, args.set)))
        return 0
    from deepsphere_codec.evaluation.environment import environment
    from deepsphere_codec.evaluation.json_file import write_json
    from deepsphere_codec.runtime.quick import quick_bfloat16

    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        there = Path(folder, "tree")
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", there, args.commit], check=True)
        try:
            parts = {part: compare(part, there, args) for part in PARTS}
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", there], check=True)
    about = {
        "name": "steps",
        "precision": "bfloat16" if quick_bfloat16("cpu") else "float32",
        "description": DESCRIPTION,
        "commit": args.commit,
        "changes": {part: OWN[part] + args.set for part in PARTS},
    }
    write_json(args.out, {**about, "parts": parts, "environment": environment()})
    for part, found in parts.items():
        print(f"{part}: {found['before']} → {found['now']} samples/s, × {found['ratio']}")
    return 0


def compare(part: str, there: Path, args: argparse.Namespace) -> dict[str, float]:
    """Measure the samples per second of both versions, and their ratio.

    Args:
        part: Part of the codec.
        there: Folder of the other version.
        args: Options.
    Returns:
        Results by name.
    """
    changes = OWN[part] + args.set
    run_process(ROOT, part, args.prepared, changes)  # draws the stored samples
    found: dict[str, list[float]] = {"before": [], "now": []}
    for _ in range(args.rounds):
        found["before"].append(run_process(there, part, args.prepared, []))
        found["now"].append(run_process(ROOT, part, args.prepared, changes))
    medians = {name: round(statistics.median(values), 3) for name, values in found.items()}
    return {**medians, "ratio": round(medians["now"] / medians["before"], 3)}


def run_process(root: Path, part: str, prepared: Path, changes: Sequence[str]) -> float:
    """Measure the samples per second of the package in `root`, in a separate process.

    Args:
        root: Folder of the package.
        part: Part of the codec.
        prepared: Folder of prepared films.
        changes: Changes of the settings.
    Returns:
        Samples per second.
    """
    from deepsphere_codec.runtime.quick import quick_bfloat16

    command = [sys.executable, __file__, "this", "--part", part, "--prepared", str(prepared.resolve())]
    command += ["--precision", "bfloat16" if quick_bfloat16("cpu") else "float32"]  # not all versions know "auto"
    command += [word for change in changes for word in ("--set", change)]
    environ = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as here:
        out = subprocess.run(command, env=environ, cwd=here, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(out.splitlines()[-1]))


def samples_a_second(part: str, prepared: Path, precision: str, changes: Sequence[str]) -> float:
    """Time steps of the imported package, which may be another version.

    Args:
        part: Part of the codec.
        prepared: Folder of prepared films.
        precision: Number format of the transforms.
        changes: Changes of the settings.
    Returns:
        Samples per second.
    """
    import deepsphere_codec
    from deepsphere_codec.runtime.memory import keep_freed_memory
    from deepsphere_codec.training.settings import TrainSettings
    from deepsphere_codec.training.trainer import Trainer

    if Path(deepsphere_codec.__file__).is_relative_to(ROOT):
        keep_freed_memory()  # as this version's train.py does
    torch.set_num_threads(1)
    settings = TrainSettings("steps")
    asked: dict[str, Any] = {
        # Earlier versions' Muon always uses bfloat16, which takes 40 times as long on some processors.
        "train.optimizer": "adam" if precision == "float32" else "muon",
        "train.precision": precision,
        "train.ema": 0.999,
        **PARTS[part],
        "train.part": part,
        "train.steps": 10**6,
    }
    asked |= {key: json.loads(value) for key, value in (change.split("=", 1) for change in changes)}
    for key, value in asked.items():
        section, name = key.split(".")
        settings = replace(settings, **{section: replace(getattr(settings, section), **{name: value})})
    train = settings.train
    if "kept" in {field.name for field in fields(train)} and train.kept == 0:
        train = replace(train, kept=train.batch * STEPS)
    trainer = Trainer(replace(settings, train=train), Path("run"), prepared, torch.device("cpu"), workers=0)
    steps = trainer._steps()
    times = []
    for number in range(WARM_UP + STEPS):
        begun = time.process_time()
        trainer._one(next(steps))
        trainer.step += 1
        if number >= WARM_UP:
            times.append(time.process_time() - begun)
    return train.batch / statistics.fmean(times)


if __name__ == "__main__":
    sys.exit(main())
