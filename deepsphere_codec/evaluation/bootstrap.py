"""Uncertainty of BD-rates due to the choice of clips: percentile intervals from resampled clips.

The clips of a test set are a sample. Drawing as many clips again, with replacement, 2000 times, and taking the middle
95 % of the resulting BD-rates shows what other samples might have given. With about ten clips such an interval is
slightly too narrow: it covers the mean of 11 normal values in 91 % of cases, not 95 %.

The BD-rates are those of `bd_rate`. Those of thousands of resampled mean curves are computed at once, by the same PCHIP
interpolation, which is about a hundred times as fast as one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.bdrate import BdRate, bd_rate
from deepsphere_codec.evaluation.results import KEYS, Point, Results, mean_points
from deepsphere_codec.metrics.psnr import MAX_DB

RESAMPLES = 2000
LEVEL = 0.95
_NO_METRICS = {"quality", "bpp", "bpp_i", "bpp_p", "encode_seconds", "decode_seconds"}
_PLACES = {"seam_error_y", "pole_error_y"}  # metrics of where the errors lie, not of how large they are
METRICS = tuple(field.name for field in fields(Point) if field.name not in _NO_METRICS | _PLACES)
_SIMILARITIES = {name for name in METRICS if "ssim" in name}  # 1 if equal; in decibels -10 log10(1 - x)


class Interval(NamedTuple):
    """Estimate and interval in per cent; the ends are None if there are fewer than two clips to resample."""

    estimate: float
    low: float | None
    high: float | None


class Intervals(NamedTuple):
    """Intervals by both interpolations; None if there is no BD-rate."""

    akima: Interval | None
    pchip: Interval | None


class BdIntervals(NamedTuple):
    """BD-rates of one codec against the anchor in one metric, over the clips that have a BD-rate."""

    name: str
    metric: str  # a field of Point
    per_clip: Mapping[str, BdRate]
    left_out: Mapping[str, str]  # reason for each clip without a BD-rate
    mean_of_clips: Intervals  # mean of the clips' BD-rates
    mean_curve: BdRate
    of_mean_curve: Interval | None  # interval of the BD-rate between the clips' mean curves, by PCHIP


def bd_intervals(
    anchor: Results, test: Results, metric: str = "ws_psnr_yuv", *, resamples: int = RESAMPLES, seed: int = 0
) -> BdIntervals:
    """Compute BD-rates per clip and over clips, with 95 % intervals over the choice of clips.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).

    Args:
        anchor: Results of the codec to compare with.
        test: Results of the other codec; clips that only one of them measured are left out, and named.
        metric: One of METRICS. Similarities are converted to decibels, -10 log10(1 - x).
        resamples: Number of resampled sets of clips.
        seed: Seed of the resampling; the same seed gives the same intervals.
    Returns:
        BD-rates and intervals.
    Raises:
        UsageError: there is no such metric.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}; metrics: {', '.join(METRICS)}")
    curves = {
        clip: (in_metric(anchor.clips.get(clip, ()), metric), in_metric(test.clips.get(clip, ()), metric))
        for clip in sorted({*anchor.clips, *test.clips})
    }
    every = {clip: bd_rate(*pair) for clip, pair in curves.items()}
    per_clip = {clip: bd for clip, bd in every.items() if bd.pchip is not None}
    draws = draw_clips(len(per_clip), resamples, seed)
    anchors, tests = ({clip: curves[clip][side] for clip in per_clip} for side in (0, 1))
    mean_curve = bd_rate(mean_points(anchors), mean_points(tests))
    return BdIntervals(
        name=test.name,
        metric=metric,
        per_clip=per_clip,
        left_out={clip: _why(clip, anchor, test, metric, every[clip]) for clip in every if clip not in per_clip},
        mean_of_clips=_intervals_of_mean(list(per_clip.values()), draws),
        mean_curve=mean_curve,
        of_mean_curve=_interval_of_mean_curve(mean_curve, list(anchors.values()), list(tests.values()), draws),
    )


def mean_interval(values: Sequence[float], draws: Int[np.ndarray, "resamples n"]) -> Interval:
    """Compute the mean of values and its percentile interval.

    Args:
        values: Values, one per clip, [n].
        draws: Indices of clips, one row for each resampled set, [resamples, n].
    Returns:
        Mean and interval.
    """
    array = np.asarray(values, float)
    return _interval(float(array.mean()), array[draws].mean(axis=1))


def mean_curve_rates(
    anchors: Sequence[Sequence[Point]], tests: Sequence[Sequence[Point]], draws: Int[np.ndarray, "resamples n"]
) -> Float[np.ndarray, " resamples"]:
    """Compute BD-rates between the mean curves of resampled clips, by PCHIP.

    Args:
        anchors: Points of each clip from `in_metric`, of the codec to compare with.
        tests: Points of each clip from `in_metric`, of the other codec.
        draws: Indices of clips, one row for each mean curve, [resamples, n].
    Returns:
        BD-rates in per cent, [resamples]; NaN if there is none.
    """
    curves = [_drawn_curves(points, draws) for points in (anchors, tests)]
    low = np.max([decibels[:, 0] for decibels, _ in curves], axis=0)
    high = np.min([decibels[:, -1] for decibels, _ in curves], axis=0)
    possible = (high > low) & np.logical_and(*((np.diff(decibels) > 0).all(axis=1) for decibels, _ in curves))
    with np.errstate(divide="ignore", invalid="ignore"):  # for curves without a BD-rate
        anchor, test = (_integral(*curve, low, high) for curve in curves)
        rates = 100 * (10 ** ((test - anchor) / (high - low)) - 1)
    return np.where(possible, rates, np.nan)


def draw_clips(clips: int, resamples: int = RESAMPLES, seed: int = 0) -> Int[np.ndarray, "resamples clips"]:
    """Draw indices of clips with replacement.

    Args:
        clips: Number of clips.
        resamples: Number of draws.
        seed: Seed.
    Returns:
        Indices, [resamples, clips]; no rows for fewer than two clips, since all draws would be equal.
    """
    generator = np.random.default_rng(seed)
    return generator.integers(clips, size=(resamples, clips)) if clips > 1 else np.zeros((0, clips), np.int64)


def in_metric(points: Sequence[Point], metric: str) -> list[Point]:
    """Replace the metrics of points by a single one, in decibels, in the field that `bd_rate` reads.

    Args:
        points: Points; those without the metric are left out.
        metric: One of METRICS.
    Returns:
        New points.
    """
    decibels = similarity_decibels if metric in _SIMILARITIES else float
    values = [(point.quality, point.bpp, getattr(point, metric)) for point in points]
    return [Point(quality, bpp, decibels(value)) for quality, bpp, value in values if bpp and value is not None]


def similarity_decibels(similarity: float) -> float:
    """Convert a similarity to decibels, -10 log10(1 - x), at most MAX_DB."""
    return min(-10 * math.log10(1 - similarity), MAX_DB) if similarity < 1 else MAX_DB


def _why(clip: str, anchor: Results, test: Results, metric: str, bd: BdRate) -> str:
    for results in (anchor, test):
        if clip not in results.clips:
            return f"{results.name} did not measure it"
        if not in_metric(results.clips[clip], metric):
            return f"{results.name} has no {KEYS[metric]} of it"
    return bd.note


def _intervals_of_mean(rates: Sequence[BdRate], draws: Int[np.ndarray, "resamples n"]) -> Intervals:
    if not rates:
        return Intervals(None, None)
    akima, pchip = ([getattr(rate, method) for rate in rates] for method in Intervals._fields)
    return Intervals(mean_interval(akima, draws), mean_interval(pchip, draws))


def _interval_of_mean_curve(
    mean_curve: BdRate,
    anchors: Sequence[Sequence[Point]],
    tests: Sequence[Sequence[Point]],
    draws: Int[np.ndarray, "resamples n"],
) -> Interval | None:
    """Interval of the mean curve's BD-rate; resampled mean curves without a BD-rate (not monotonic) are ignored."""
    if mean_curve.pchip is None:
        return None
    rates = mean_curve_rates(anchors, tests, draws)
    return _interval(mean_curve.pchip, rates[~np.isnan(rates)])


def _interval(estimate: float, drawn: Float[np.ndarray, " resamples"]) -> Interval:
    if not len(drawn):
        return Interval(estimate, None, None)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


def _drawn_curves(
    clips: Sequence[Sequence[Point]], draws: Int[np.ndarray, "resamples n"]
) -> tuple[Float[np.ndarray, "resamples points"], Float[np.ndarray, "resamples points"]]:
    """Mean decibels and log10 of mean rates at the qualities that all clips have, each curve sorted by rate."""
    points = [{point.quality: point for point in clip} for clip in clips]
    common = sorted(set.intersection(*(set(each) for each in points)))
    values = np.array([[(each[quality].ws_psnr_yuv, each[quality].bpp) for quality in common] for each in points])
    decibels, rates = np.moveaxis(values[draws].mean(axis=1), -1, 0)
    order = np.argsort(rates, axis=1)
    return np.take_along_axis(decibels, order, 1), np.log10(np.take_along_axis(rates, order, 1))


def _integral(
    x: Float[np.ndarray, "curves points"],
    y: Float[np.ndarray, "curves points"],
    low: Float[np.ndarray, " curves"],
    high: Float[np.ndarray, " curves"],
) -> Float[np.ndarray, " curves"]:
    """Integral of the PCHIP curves through increasing points, from low to high."""
    steps, slopes = np.diff(x), _slopes(x, y)

    def up_to(end: np.ndarray) -> np.ndarray:
        t = np.clip((end[:, None] - x[:, :-1]) / steps, 0, 1)
        t2, t3, t4 = t**2, t**3, t**4
        values = y[:, :-1] * (t - t3 + t4 / 2) + y[:, 1:] * (t3 - t4 / 2)
        tangents = slopes[:, :-1] * (t2 / 2 - 2 * t3 / 3 + t4 / 4) + slopes[:, 1:] * (t4 / 4 - t3 / 3)
        return (steps * (values + steps * tangents)).sum(axis=1)

    return up_to(high) - up_to(low)


def _slopes(x: Float[np.ndarray, "curves points"], y: Float[np.ndarray, "curves points"]) -> np.ndarray:
    """Slopes at the points of increasing curves.

    Source: Fritsch, Butland, SIAM J. Sci. Stat. Comput. 5(2), 1984; as scipy's PchipInterpolator.
    """
    steps = np.diff(x)
    chords = np.diff(y) / steps
    if chords.shape[1] == 1:
        return np.repeat(chords, 2, axis=1)
    before, after = steps[:, :-1], steps[:, 1:]
    inner = 3 * (before + after) / ((2 * after + before) / chords[:, :-1] + (after + 2 * before) / chords[:, 1:])
    return np.column_stack([_end_slope(steps, chords), inner, _end_slope(steps[:, ::-1], chords[:, ::-1])])


def _end_slope(steps: np.ndarray, chords: np.ndarray) -> np.ndarray:
    """Slope at the first point, from its two adjacent steps."""
    first, second = steps[:, 0], steps[:, 1]
    return np.maximum(((2 * first + second) * chords[:, 0] - first * chords[:, 1]) / (first + second), 0)
