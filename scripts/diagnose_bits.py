#!/usr/bin/env python3
"""Show the bits of a model by part, compared with the bits that classical encoders need for the same pictures.

    scripts/diagnose_bits.py --clips FOLDER --model NAME --quality 3 5 --frames 3 --nside 256 \\
        --out results/bits.json --figure docs/bits.svg

For each clip and quality the first frames are coded as one GOP. The output has, per frame on average:

- bits of each part of P- and B-frames; and the bits that x265 medium needs, at the same WS-PSNR-YUV, from the same
  decoded reference (coded nearly losslessly, its bits are not counted), from the model's prediction in its place, and
  for the prediction's residual as a separate picture;
- WS-PSNR along the prediction: the reference, moved leaf by leaf, with overlap, the reconstruction;
- bits of the I-frame, and the bits that x265 and SVT-AV1 need for it alone;
- with --first-p FILE, bits of the first P-frame compared with those of another model at equal WS-PSNR-YUV (such as
  results/first-p-0.1.json); this requires several qualities around the compared one.

An interrupted run is continued by running it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from deepsphere_codec.cli.arguments import usable_device
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.diagnosis.record import read_diagnosis, write_diagnosis
from deepsphere_codec.evaluation.diagnosis.tables import diagnosis_tables, first_p_table, table_text
from deepsphere_codec.evaluation.script import check_positive, imports_of_script, run
from deepsphere_codec.models import DEFAULT_MODEL, load_model
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.video.clips import find_clips

with imports_of_script():
    from deepsphere_codec.evaluation.diagnosis.figure import plot_diagnosis
    from deepsphere_codec.evaluation.diagnosis.measure import FRAMES, Options, Progress, diagnose
    from deepsphere_codec.evaluation.plots import figure_path


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show where the bits of a model go.")
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"or its folder ({DEFAULT_MODEL})")
    parser.add_argument("--quality", type=float, nargs="+", default=[3.0, 5.0], metavar="Q", help="1 to 8 (3 5)")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help=f"of each clip ({FRAMES})")
    parser.add_argument("--nside", type=int, metavar="N", help="resolution (by quality, as the command chooses it)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="of the model (all)")
    parser.add_argument("--out", type=Path, default=Path("results/bits.json"), metavar="FILE.json")
    parser.add_argument("--figure", type=Path, metavar="FILE.svg", help="or .png")
    parser.add_argument("--first-p", type=Path, metavar="FILE.json", help="compare the first P-frames with these")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    check_positive(args, "frames", "threads")
    if args.out.suffix != ".json":
        raise UsageError(f"{args.out} does not end in .json; name a file that does")
    if args.figure:
        figure_path(args.figure)  # fails before the work, not after it
    if args.threads:
        torch.set_num_threads(args.threads)
    clips = find_clips(args.clips)
    before = read_diagnosis(args.out) if args.out.exists() else None

    def keep(progress: Progress) -> None:
        write_diagnosis(args.out, progress.diagnosis)
        clip = progress.clip
        bits = ", ".join(f"{frame.frame_type} {frame.bits / 1000:.1f}" for frame in clip.frames)
        line = f"[{progress.done}/{progress.total}] {clip.clip} quality {clip.quality:g}: {bits} kbit"
        print(line, file=sys.stderr, flush=True)

    options = Options(args.quality, args.frames, args.nside)
    diagnosis = diagnose(load_model(args.model, device=usable_device(args.device)), clips, options, before, keep)
    tables = diagnosis_tables(diagnosis)
    if args.first_p:
        tables.append(first_p_table(diagnosis, args.first_p))
    print("\n\n".join(table_text(table) for table in tables))
    if args.figure:
        plot_diagnosis(diagnosis, args.figure)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
