"""Which resolution codes best at which quality: found again where it is known, and what the codec goes by."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support import load_script

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.models.resolution import SHARES, STEEPNESS
from studies.resolution.ladder import fit_ladder

ROOT = Path(__file__).resolve().parents[2]
FULL = 256


def curve(nside: int, steepness: float, knee: float, qualities=(1.0, 3.0, 5.0, 7.0)) -> Results:
    """Two qualities double the rate and bring 4 dB; 2 of them less for each octave below full, more below a knee."""
    octaves = math.log2(FULL / nside)

    def point(quality: float) -> Point:
        asked = quality - steepness * octaves
        decibels = 30 + 2 * asked + octaves * (1 - (asked - knee))
        return Point(quality, 0.01 * 2 ** (asked / 2), decibels)

    return Results("made up", "", "made up", {"nside": nside}, {"clip": [point(q) for q in qualities]})


def test_what_was_put_in_is_found() -> None:
    """At the knee plus one the lower resolution gains nothing any more."""
    ladder = fit_ladder({nside: curve(nside, 1.5, 3.0, (1, 2, 3, 4, 5, 6, 7, 8)) for nside in (128, 256)})
    assert ladder.steepness == pytest.approx(1.5)
    assert ladder.bounds == pytest.approx([4.0], abs=0.02)


@pytest.mark.parametrize(("knee", "bound"), [(-9.0, 1.0), (20.0, 6.0)], ids=["never", "always"])
def test_where_the_curves_do_not_cross_one_is_better_throughout(knee: float, bound: float) -> None:
    ladder = fit_ladder({128: curve(128, 1.0, knee), 256: curve(256, 1.0, knee)})
    assert ladder.bounds == pytest.approx([bound], abs=0.02)


def test_the_codec_goes_by_what_was_measured() -> None:
    ladder = load_script("studies/resolution").ladder_of(sorted((ROOT / "results" / "resolution").glob("*.json")))
    assert [bound for bound, _ in SHARES[:-1]] == pytest.approx(ladder.bounds, abs=0.26), "round to halves"
    assert pytest.approx(ladder.steepness, abs=0.06) == STEEPNESS, "round to tenths"


def test_too_little_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two resolutions"):
        fit_ladder({256: curve(256, 1.0, 3.0)})
    with pytest.raises(UsageError, match="two qualities"):
        fit_ladder({128: curve(128, 1.0, 3.0, (4.0,)), 256: curve(256, 1.0, 3.0)})
