"""BD-rate of curves whose distance is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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


def test_rows_are_over_common_clips(make_results: MakeResults) -> None:
    anchor, test = make_results("x265", clips=4), make_results("mine", 1.5, clips=3)
    (row,) = bd_rows(anchor, [test])
    assert row.clips == 3
    assert row.mean_curve.pchip == pytest.approx(50, abs=1e-6) and row.per_clip == pytest.approx(50, abs=1e-6)
