#!/usr/bin/env python3
"""Make a report of results: a self-contained HTML file, and its figures as SVG and PNG beside it.

    scripts/report.py results/*.json --out out/report/report.html --clips FOLDER

With --clips, one of the clips is coded by every codec at nearly equal rate, for visual comparison; the coded films are
kept beside the report and reused. A diagnosis among the files (scripts/diagnose_bits.py) becomes a section. Exit code 1
means that data is missing, which the report lists; the rest is complete.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from deepsphere_codec.runtime.threads import spin_briefly

spin_briefly()

from deepsphere_codec.errors import CodecError, UsageError  # noqa: E402
from deepsphere_codec.evaluation.script import check_positive, imports_of_script, run  # noqa: E402
from deepsphere_codec.models import DEFAULT_MODEL  # noqa: E402

with imports_of_script():
    from deepsphere_codec.evaluation.report.build import ANCHOR, FRAMES, Request, make_report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a report of results, in one HTML file.")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    parser.add_argument("--out", type=Path, default=Path("out/report/report.html"), metavar="PAGE.html")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="films of the clips, to look at one of them")
    parser.add_argument("--scene", metavar="CLIP", help="which one (the first that most codecs were measured on)")
    parser.add_argument("--frames", type=int, metavar="N", help=f"of it (as many as measured, at most {FRAMES})")
    parser.add_argument("--anchor", default=ANCHOR, metavar="NAME", help=f"codec that BD-rates are against ({ANCHOR})")
    parser.add_argument("--default", default=DEFAULT_MODEL, metavar="NAME", help="codec that the summary is of")
    parser.add_argument("--expect", nargs="+", default=[], metavar="NAME", help="codecs that should be there")
    parser.add_argument("--summary", type=Path, metavar="FILE.json", help="the figures as JSON (beside the page)")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="of models that do not come with the package")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.out.suffix != ".html":
        raise UsageError(f"{args.out} does not end in .html; name a page that does")
    check_positive(args, "frames")
    request = Request(
        results=args.results,
        out=args.out,
        clips=args.clips,
        scene=args.scene,
        frames=args.frames,
        expected=args.expect,
        anchor=args.anchor,
        models=args.models,
        default=args.default,
        summary=args.summary,
        command=" ".join(["scripts/report.py", *map(shlex.quote, sys.argv[1:])]),
    )
    missing = make_report(request, on_coded=lambda line: print(f"scene: {line}", file=sys.stderr))
    print(args.out)
    for each in missing:
        print(f"missing: {each}", file=sys.stderr)
    if missing:
        raise Incomplete(f"{len(missing)} missing, which {args.out} names; all else is there")


class Incomplete(CodecError):
    """Raised if data is missing, which the report lists."""

    exit_code = 1


if __name__ == "__main__":
    sys.exit(run(main))
