"""BD-rate of curves whose distance is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from deepsphere_codec.evaluation.bdrate import bd_rate, bd_rows
from deepsphere_codec.evaluation.results import Point, Results

MakeResults = Callable[..., Results]


@pytest.mark.parametrize("factor", [0.8, 1.25, 2.0])
def test_a_constant_factor_in_rate(factor: float, make_results: MakeResults) -> None:
    anchor, test = make_results("a").mean, make_results("b", factor).mean
    bd = bd_rate(anchor, list(reversed(test)))
    assert bd.akima == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert bd.pchip == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert bd.overlap == pytest.approx(1.0) and not bd.note


def test_small_overlap_is_said(make_results: MakeResults) -> None:
    anchor = make_results("a").mean  # 35 to 44 dB
    bd = bd_rate(anchor, anchor[1:])  # 38 to 44 dB
    assert bd.overlap == pytest.approx(6 / 9) and bd.pchip == pytest.approx(0, abs=1e-6)
    assert bd.note == "curves overlap by 67% only"


@pytest.mark.parametrize(
    ("points", "note"),
    [
        ([], "fewer than two points"),
        ([Point(1, 0.1, 40.0)], "fewer than two points"),
        ([Point(256, None, 55.0), Point(192, None, 50.0)], "fewer than two points"),
        ([Point(1, 0.1, 40.0), Point(2, 0.2, 39.0)], "a curve falls"),
        ([Point(1, 0.1, 60.0), Point(2, 0.2, 65.0)], "no common range"),
    ],
)
def test_where_there_is_none(points: list[Point], note: str, make_results: MakeResults) -> None:
    bd = bd_rate(make_results("a").mean, points)
    assert (bd.akima, bd.pchip) == (None, None) and note in bd.note


@pytest.mark.parametrize("clips", [(4, 3), (3, 4)], ids=["the anchor has more", "the tested codec has more"])
def test_rows_are_over_common_clips(clips: tuple[int, int], make_results: MakeResults) -> None:
    anchor, test = make_results("x265", clips=clips[0]), make_results("mine", 1.5, clips=clips[1])
    (row,) = bd_rows(anchor, [test])
    assert row.clips == 3
    assert row.mean_curve.pchip == pytest.approx(50, abs=1e-6) and row.per_clip == pytest.approx(50, abs=1e-6)


BENT = (
    [Point(0, 0.05, 34.0), Point(1, 0.1, 38.0), Point(2, 0.3, 40.5), Point(3, 1.0, 41.5)],
    [Point(0, 0.04, 34.5), Point(1, 0.11, 37.0), Point(2, 0.2, 40.8), Point(3, 0.9, 42.0)],
)
"""Curves on which the interpolations differ."""


def integrated(interpolation: Callable[..., Any], points: list[Point]) -> float:
    """Integral of the logarithm of the rate over the decibels that both curves of BENT cover."""
    decibels, rates = [point.ws_psnr_yuv for point in points], [point.bpp for point in points]
    return float(interpolation(decibels, np.log10(rates)).integrate(34.5, 41.5))


def test_bent_curves_have_the_rate_of_each_interpolation() -> None:
    bd = bd_rate(*BENT)
    for interpolation, found in ((Akima1DInterpolator, bd.akima), (PchipInterpolator, bd.pchip)):
        anchor, test = (integrated(interpolation, points) for points in BENT)
        assert found == pytest.approx(100 * (10 ** ((test - anchor) / 7) - 1))
    assert bd.akima is not None and bd.pchip is not None and abs(bd.akima - bd.pchip) > 0.1


def test_the_mean_over_clips_is_by_pchip() -> None:
    anchor, test = (Results(name, "", name, {}, {"a.mp4": points}) for name, points in zip("xy", BENT, strict=True))
    (row,) = bd_rows(anchor, [test])
    assert row.per_clip == row.mean_curve.pchip == bd_rate(*BENT).pchip
