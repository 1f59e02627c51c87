"""Draw rate-distortion curves and print BD-rates.

    scripts/plot_rd.py results/*.json --out out/rd.svg

Writes the mean curves to --out, and one panel per clip beside it (out/rd-clips.svg). Files that hold no results, such
as benchmarks, are passed over.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.bdrate import bd_rows, bd_table
from deepsphere_codec.evaluation.curves import CEILING
from deepsphere_codec.evaluation.plots import plot_clips, plot_mean
from deepsphere_codec.evaluation.results import Results, is_results_file, read_results
from deepsphere_codec.evaluation.script import run


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw rate-distortion curves and print BD-rates.")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FIGURE", help="ends in .svg or .png")
    parser.add_argument("--anchor", default="x265", metavar="NAME", help="codec that BD-rates are against (x265)")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    results = read_all(args.results)
    plot_mean(results, args.out)
    plot_clips(results, args.out.with_stem(f"{args.out.stem}-clips"))
    anchors = [each for each in results if each.codec == args.anchor]
    others = [each for each in results if each.codec not in (args.anchor, CEILING)]
    if anchors and others:
        print(bd_table(anchors[0], bd_rows(anchors[0], others)))
    else:
        print(f"no BD-rates: they need results of {args.anchor} (--anchor) and of another codec", file=sys.stderr)


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
