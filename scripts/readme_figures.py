"""Write the figures of README.md from results/: `scripts/readme_figures.py [--check]`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from deepsphere_codec.evaluation.bdrate import BdRate, BdRow, bd_rows
from deepsphere_codec.evaluation.results import read_results

ROOT = Path(__file__).resolve().parents[1]
MARKERS = re.compile(r"(<!-- figures:.*?-->\n).*?(<!-- /figures -->)", re.S)


def figures(results: Path) -> str:
    """The part of the README that is made of numbers."""
    names = ("sphere-dvc", "x265", "ceiling")
    model, x265, ceiling = (json.loads((results / f"{name}.json").read_text()) for name in names)
    frames, clips = model["settings"]["frames"], len(model["clips"])
    lines = [
        f"Means over the {clips} test clips at 1024×512, first {frames} frames, one I-frame:",
        "",
        "| sphere-dvc, quality | bpp | WS-PSNR-YUV, dB | P-frame / I-frame, bits | encode, s/frame | decode, s/frame |",
        "|---|---|---|---|---|---|",
    ]
    for point in model["mean"]:
        seconds = [point[key] / frames for key in ("encode_seconds", "decode_seconds")]
        lines.append(
            f"| {point['quality']:g} | {point['bpp']:.3f} | {point['ws-psnr-yuv']:.2f} "
            f"| {point['bpp-p'] / point['bpp-i']:.2f} | {seconds[0]:.2f} | {seconds[1]:.2f} |"
        )
    lines += ["", "| x265 medium, crf | bpp | WS-PSNR-YUV, dB |", "|---|---|---|"]
    lines += [f"| {p['quality']:g} | {p['bpp']:.3f} | {p['ws-psnr-yuv']:.2f} |" for p in x265["mean"]]
    for name, file in (("x265 medium", "x265"), ("the first release", "sphere-dvc-0.1")):
        bd = bd_row(results, file).mean_curve
        lines += ["", f"BD-rate against {name}: {bd.pchip:+.0f} % (PCHIP), {bd.akima:+.0f} % (Akima); {overlap(bd)}."]
    top = ceiling["mean"][0]
    lines += ["", f"The resampling alone: {top['ws-psnr-yuv']:.1f} dB YUV, {top['ws-psnr-y']:.1f} dB luma."]
    benchmark = json.loads((results / "benchmark.json").read_text())
    if "codecs" in benchmark:
        lines += ["", *speed(benchmark)]
    lines += ["", "![Rate-distortion curves](docs/rd.svg)"]
    return "\n".join(lines) + "\n"


def speed(benchmark: dict) -> list[str]:
    """Table of the codecs' times."""
    threads, cpu = (benchmark["environment"][key] for key in ("threads", "cpu"))
    lines = [
        f"Seconds for a P-frame and peak memory on {threads} threads ({cpu}), side by side in one run:",
        "",
        "| codec | encode | decode | GiB |",
        "|---|---|---|---|",
    ]
    for row in benchmark["codecs"]:
        figures = f"{row['encode_seconds']:.2f} | {row['decode_seconds']:.2f} | {row['peak_gib']:.2f}"
        lines.append(f"| {row['codec']} | {figures} |")
    return lines


def bd_row(results: Path, anchor_file: str) -> BdRow:
    anchor, model = (read_results(results / f"{name}.json")[0] for name in (anchor_file, "sphere-dvc"))
    return bd_rows(anchor, [model])[0]


def overlap(bd: BdRate) -> str:
    return f"the curves overlap by {bd.overlap:.0%} of their dB" + (
        ", so it speaks for a part of them" if bd.note else ""
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the README is out of date")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text()
    made = MARKERS.sub(lambda found: found[1] + "\n" + figures(ROOT / "results") + "\n" + found[2], text)
    if args.check:
        return int(made != text)
    readme.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
