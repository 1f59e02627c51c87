"""Intervals of BD-rates over clips: of curves whose distance is known, and how often they cover the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.bdrate import bd_rate
from deepsphere_codec.evaluation.bootstrap import (
    METRICS,
    Interval,
    bd_intervals,
    draw_clips,
    mean_curve_rates,
    mean_interval,
    similarity_decibels,
)
from deepsphere_codec.evaluation.results import Point, Results, mean_points

MakeResults = Callable[..., Results]
FACTORS = (0.7, 0.9, 1.0, 1.1, 1.6)


def results_of(name: str, factors: Sequence[float]) -> Results:
    """10 dB for each decade of rate, in every metric; each clip's rates are multiplied by its factor."""

    def point(quality: float, factor: float) -> Point:
        decibels = 20 + quality
        rate = factor * 10 ** (quality / 10 - 2)
        metrics = {name: 1 - 10 ** (-decibels / 10) if "ssim" in name else decibels for name in METRICS}
        return Point(quality, rate, **metrics)

    clips = {f"clip{n}.mp4": [point(q, factor) for q in (0.0, 3, 6, 9)] for n, factor in enumerate(factors)}
    return Results(name, "made up", name, {}, clips, {})


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_clips_alike_leave_no_doubt(factor: float, make_results: MakeResults) -> None:
    found = bd_intervals(make_results("a", clips=4), make_results("b", factor, clips=4), resamples=50)
    expected = 100 * (factor - 1)
    for interval in (*found.mean_of_clips, found.of_mean_curve):
        assert interval is not None
        assert interval == pytest.approx((expected, expected, expected), abs=1e-6)
    assert [bd.overlap for bd in found.per_clip.values()] == pytest.approx([1.0] * 4)
    assert found.mean_curve.pchip == pytest.approx(expected, abs=1e-6) and not found.left_out


@pytest.mark.parametrize("metric", METRICS)
def test_clips_with_known_shifts_in_every_metric(metric: str) -> None:
    found = bd_intervals(results_of("a", [1.0] * 5), results_of("b", FACTORS), metric, resamples=200, seed=3)
    rates = 100 * (np.array(FACTORS) - 1)
    assert [bd.pchip for bd in found.per_clip.values()] == pytest.approx(rates, abs=1e-6)
    # Where all clips have the anchor's rates, the mean curve's rate follows the mean of the factors as well.
    expected = mean_interval(rates, draw_clips(5, 200, seed=3))
    assert expected.low < expected.estimate < expected.high  # type: ignore[operator]
    for interval in (*found.mean_of_clips, found.of_mean_curve):
        assert interval is not None and interval == pytest.approx(expected, abs=1e-6)


def test_metrics_are_what_a_point_measures() -> None:
    assert {"ws_psnr_yuv", "ws_psnr_y", "psnr_y", "s_psnr_nn_y", "ms_ssim_y"} <= set(METRICS)
    assert {"cpp_psnr_y", "s_psnr_i_y", "ws_ssim_y", "viewport_psnr_y", "viewport_ssim_y", "ws_psnr_u"} <= set(METRICS)
    assert not {"quality", "bpp", "bpp_i", "encode_seconds", "seam_error_y", "pole_error_y"} & set(METRICS)
    with pytest.raises(UsageError, match="no metric 'vmaf'; metrics: ws_psnr_yuv"):
        bd_intervals(results_of("a", [1.0]), results_of("b", [1.0]), "vmaf")


def test_similarity_in_decibels() -> None:
    assert similarity_decibels(0.99) == pytest.approx(20)
    assert similarity_decibels(0.0) == 0
    assert similarity_decibels(1.0) == 100


def test_a_clip_without_a_value_is_named_and_left_out() -> None:
    anchor, test = results_of("a", [1.0] * 5), results_of("b", [1.5] * 5)
    small = [Point(p.quality, p.bpp, p.ws_psnr_yuv) for p in test.clips["clip1.mp4"]]
    falling = [Point(p.quality, p.bpp, -p.ws_psnr_yuv, ms_ssim_y=1 - p.ms_ssim_y) for p in test.clips["clip2.mp4"]]
    clips = {**test.clips, "clip1.mp4": small, "clip2.mp4": falling}
    del clips["clip3.mp4"]
    test = Results("b", "made up", "b", {}, clips, {})
    found = bd_intervals(anchor, test, "ms_ssim_y", resamples=20)
    assert found.left_out == {
        "clip1.mp4": "b has no ms-ssim-y of it",
        "clip2.mp4": "a curve falls: more bits, no more dB",
        "clip3.mp4": "b did not measure it",
    }
    assert list(found.per_clip) == ["clip0.mp4", "clip4.mp4"]
    assert found.mean_of_clips.pchip == pytest.approx((50, 50, 50), abs=1e-6)
    assert found.mean_curve.akima == pytest.approx(50, abs=1e-6)


def test_one_clip_has_no_interval_and_none_has_nothing() -> None:
    one = bd_intervals(results_of("a", [1.0]), results_of("b", [2.0]))
    for interval in (one.mean_of_clips.pchip, one.of_mean_curve):
        assert interval is not None and interval.estimate == pytest.approx(100)
        assert (interval.low, interval.high) == (None, None)
    none = bd_intervals(results_of("a", [1.0]), results_of("b", []))
    assert none.mean_of_clips == (None, None) and none.of_mean_curve is None
    assert none.mean_curve.note and list(none.left_out) == ["clip0.mp4"]


def bent(generator: np.random.Generator, points: int) -> list[Point]:
    """A rising curve without any regularity, worst quality last as with a crf."""
    rates = np.geomspace(0.2, 0.01, points) * generator.uniform(0.8, 1.2, points)
    return [Point(20.0 + n, rate, 36 + 20 * rate**0.5 - n / 9) for n, rate in enumerate(rates)]


@pytest.mark.parametrize("points", [2, 3, 5])
def test_drawn_mean_curves_have_the_bd_rates_of_the_bjontegaard_package(points: int) -> None:
    generator = np.random.default_rng(points)
    anchors, tests = ([bent(generator, points) for _ in range(4)] for _ in range(2))
    draws = draw_clips(4, 25)
    expected = [
        bd_rate(*(mean_points({str(i): clips[n] for i, n in enumerate(draw)}) for clips in (anchors, tests)))
        for draw in draws
    ]
    assert len({bd.pchip for bd in expected}) > 10 and max(bd.overlap for bd in expected) < 1
    assert mean_curve_rates(anchors, tests, draws) == pytest.approx([bd.pchip for bd in expected], rel=1e-9)


def test_drawn_mean_curves_that_fall_or_lie_apart_have_no_bd_rate() -> None:
    rising = [Point(1, 0.1, 40.0), Point(2, 0.2, 42.0), Point(3, 0.3, 43.0)]
    falling = [Point(1, 0.1, 41.0), Point(2, 0.2, 40.0), Point(3, 0.3, 44.0)]
    apart = [Point(p.quality, p.bpp, p.ws_psnr_yuv + 9) for p in rising]
    rates = mean_curve_rates([rising] * 3, [rising, falling, apart], np.array([[0], [1], [2]]))
    assert rates[0] == 0 and np.isnan(rates[1:]).all()


def test_the_seed_decides() -> None:
    rates = 100 * (np.array(FACTORS) - 1)
    first, again, other = (mean_interval(rates, draw_clips(5, 100, seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert draw_clips(11).shape == (2000, 11) and draw_clips(11).max() == 10


@pytest.mark.parametrize(("clips", "expected"), [(11, 0.91), (40, 0.94)])
def test_how_often_the_truth_is_covered(clips: int, expected: float) -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(600):
        low, high = mean_interval(generator.normal(5, 20, clips), draw_clips(clips, 400, seed))[1:]
        covered += low <= 5 <= high  # type: ignore[operator]
    assert covered / 600 == pytest.approx(expected, abs=0.03)


def test_an_interval_is_per_cent() -> None:
    assert mean_interval([10.0, 10.0], draw_clips(2, 5)) == Interval(10.0, 10.0, 10.0)
