#!/usr/bin/env python3
"""Keep what a long run has come to: the running mean of its weights in 16 bits, and its log.

    scripts/keep_run.py runs/sphere-dvc/intra --only intra. --out models/next

Writes OUT/NAME.safetensors, which `train.start` and `train.start_intra` take, and OUT/log-NAME.jsonl, NAME being the
stage. The optimiser's state is not kept: warm up again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.training.checkpoint import save_mean


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Keep the running mean of a run's weights, and its log.")
    parser.add_argument("stage", type=Path, metavar="FOLDER", help="folder of the stage, with its checkpoint and log")
    parser.add_argument("--only", default="", help="beginning of the names of the weights to keep, such as intra.")
    parser.add_argument("--out", type=Path, default=Path("models/next"), help="folder to write to (models/next)")
    args = parser.parse_args(arguments)
    log = args.stage / "log.jsonl"
    if not log.is_file():
        raise UsageError(f"{args.stage} is not a folder of a run: it has no log.jsonl")
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / f"{args.stage.name}.safetensors"
    step = save_mean(args.stage / "checkpoint.safetensors", target, args.only)
    shutil.copyfile(log, args.out / f"log-{args.stage.name}.jsonl")
    print(f"{target}: step {step}, {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(run(main))
