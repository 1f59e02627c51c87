#!/usr/bin/env python3
"""Decode sound files, changed: each must end in time, in little memory, with pictures or with an error of the project.

    python -m studies.fuzzing [--files 100000] [--seconds-each 2] [--seed 0] [--engine atheris|random] [--out FILE.json]

Bytes of the file are changed, or its fields and records, or the frames' payloads, the latter two with right checksums.
They are decoded by small networks of random weights, by a command's ways: whole, past damages, from a pipe; and without
comparing what each frame must come to, so that changed payloads become pictures, too. Time is the processor's; memory
is compared with twice what a sound film of the largest size takes. With atheris (pip install 'deepsphere-codec[fuzz]'),
files that reach new lines of the decoder are changed further. What fails is kept, with its traceback; exit code 1 where
something did.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import INCOMPLETE, run
from studies.fuzzing.campaign import ENGINES, Settings, run_campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, metavar="N", help="how many (100000)")
    parser.add_argument("--seconds-each", type=float, default=2.0, metavar="S", help="of the processor, at most (2)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other files (0)")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="what chooses them (atheris)")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), metavar="FOLDER", help="for failures (out/fuzz)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, too")
    arguments = parser.parse_args()
    settings = Settings(arguments.files, arguments.seconds_each, arguments.seed, arguments.engine, arguments.keep)
    with tqdm(total=settings.files, unit="file", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        found = run_campaign(settings, lambda done, total: bar.update(done - bar.n) and None)
    if arguments.out:
        write_json(arguments.out, {**found, "environment": environment()})
    print(
        f"{found['files']} files in {found['seconds']:.0f} s: "
        + ", ".join(f"{n} {k}" for k, n in found["endings"].items())
    )
    print(
        f"slowest {found['slowest_seconds']:.2f} s, {found['peak_memory_mib']:.0f} MiB, failures: {found['failures']}"
    )
    return INCOMPLETE if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(run(main, "fuzz", kept="nothing is kept"))
