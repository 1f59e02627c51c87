#!/usr/bin/env python3
"""Draw rate-distortion curves and print BD-rates.

    scripts/plot_rd.py results/*.json --out out/rd.svg

Writes the mean curves to --out, and one panel per clip beside it (out/rd-clips.svg). BD-rates are of each --metric, by
PCHIP and Akima, with 95 % intervals over clips. Files without results, such as benchmarks, are skipped; missing points
in the others are listed, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import KEYS, Results, is_results_file, read_results
from deepsphere_codec.evaluation.script import imports_of_script, report_missing, run

with imports_of_script():
    from deepsphere_codec.evaluation.bdtable import bd_table
    from deepsphere_codec.evaluation.bootstrap import METRICS, bd_intervals
    from deepsphere_codec.evaluation.curves import CEILING, CUBEMAP_CEILING
    from deepsphere_codec.evaluation.plots import plot_clips, plot_mean

METRIC_KEYS = {KEYS[name]: name for name in METRICS}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw rate-distortion curves and print BD-rates.")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FIGURE", help="ends in .svg or .png")
    parser.add_argument("--anchor", default="x265", metavar="NAME", help="codec that BD-rates are against (x265)")
    parser.add_argument(
        "--metric",
        nargs="+",
        choices=METRIC_KEYS,
        default=["ws-psnr-yuv"],
        metavar="KEY",
        help=f"of BD-rates (ws-psnr-yuv): {', '.join(METRIC_KEYS)}",
    )
    parser.add_argument("--per-clip", action="store_true", help="also the BD-rates of each clip")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse()
    results = read_all(args.results)
    plot_mean(results, args.out)
    plot_clips(results, args.out.with_stem(f"{args.out.stem}-clips"))
    anchors = [each for each in results if each.codec == args.anchor]
    others = [each for each in results if each.codec not in (args.anchor, CEILING, CUBEMAP_CEILING)]
    if anchors and others:
        tables = [
            bd_table(
                anchors[0],
                [bd_intervals(anchors[0], other, METRIC_KEYS[key]) for other in others],
                per_clip=args.per_clip,
            )
            for key in args.metric
        ]
        print("\n\n".join(tables))
    else:
        print(f"no BD-rates: they need results of {args.anchor} (--anchor) and of another codec", file=sys.stderr)
    return report_missing(results)


def read_all(paths: list[Path]) -> list[Results]:
    results = []
    for path in paths:
        if is_results_file(path):
            results += read_results(path)
        else:
            print(f"{path} holds no results; passed over", file=sys.stderr)
    names = [each.name for each in results]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the results of {twice[0]!r} are there twice; give each file once")
    return results


if __name__ == "__main__":
    sys.exit(run(main))
