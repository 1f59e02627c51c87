"""Best resolution for each quality: `python -m studies.resolution results/resolution/*.json`.

The files hold results of one model on the same training films, measured with `scripts/evaluate.py … --nside N`. The
command prints the constants of `deepsphere_codec/models/resolution.py`, which a test compares with these results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import read_results
from deepsphere_codec.evaluation.script import run
from studies.resolution.ladder import Ladder, fit_ladder


def ladder_of(paths: list[Path]) -> Ladder:
    """Fit the ladder to results files, one for each resolution.

    Raises:
        UsageError: a file has no resolution, or there are too few files.
    """
    found = {}
    for path in paths:
        (results,) = read_results(path)
        if not isinstance(nside := results.settings.get("nside"), int):
            raise UsageError(f"{path} was measured without --nside; give files of one resolution each")
        found[nside] = results
    return fit_ladder(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="At which quality which resolution codes best.")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    ladder = ladder_of(parser.parse_args().results)
    print(f"next resolution from quality {', '.join(f'{bound:.2f}' for bound in ladder.bounds)}")
    print(f"qualities for half of the resolution: {ladder.steepness:.2f}")


if __name__ == "__main__":
    sys.exit(run(main))
