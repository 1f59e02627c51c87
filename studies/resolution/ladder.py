"""Best resolution for each quality: the constants of `resolution`, from points of training films."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.results import Point, Results


class Ladder(NamedTuple):
    """Constants of `resolution`.

    Attributes:
        bounds: Requested qualities above which the next resolution is better, lowest resolution first.
        steepness: Difference in quality that corresponds to half of the resolution at equal rate.
    """

    bounds: tuple[float, ...]
    steepness: float


def fit_ladder(results: Mapping[int, Results]) -> Ladder:
    """Compare mean curves of one model on the same films at several resolutions.

    Args:
        results: Results by nside; the largest is the full resolution, whose qualities are the requested ones.
    Returns:
        Constants.
    Raises:
        UsageError: fewer than two resolutions, or one with fewer than two qualities.
    """
    curves = {nside: [p for p in each.mean if p.bpp] for nside, each in sorted(results.items())}
    if len(curves) < 2 or min(map(len, curves.values())) < 2:
        raise UsageError("two resolutions or more are compared, each at two qualities or more")
    full = max(curves)
    shifts = [
        (point.quality - _quality_of(point, curves[full])) / math.log2(full / nside)
        for nside, curve in curves.items()
        for point in curve
        if nside < full and _reaches(curves[full], point)
    ]
    sides = list(curves)
    bounds = (_crossing(curves[low], curves[high]) for low, high in zip(sides, sides[1:], strict=False))
    return Ladder(tuple(_quality_at(rate, curves[full]) for rate in bounds), float(np.mean(shifts)))


def _crossing(low: Sequence[Point], high: Sequence[Point]) -> float:
    """Logarithm of the rate above which the higher resolution is better; or an end of the common range of rates."""
    first, last = max(_rates(low)[0], _rates(high)[0]), min(_rates(low)[-1], _rates(high)[-1])
    places = np.linspace(first, last, 1001)
    ahead = _decibels(high, places) > _decibels(low, places)
    return float(places[np.argmax(ahead)]) if ahead.any() else last


def _decibels(curve: Sequence[Point], rates: np.ndarray) -> np.ndarray:
    return np.interp(rates, _rates(curve), [point.ws_psnr_yuv for point in curve])


def _rates(curve: Sequence[Point]) -> list[float]:
    return [math.log2(point.bpp or 0.0) for point in curve]


def _reaches(curve: Sequence[Point], point: Point) -> bool:
    return _rates(curve)[0] <= math.log2(point.bpp or 0.0) <= _rates(curve)[-1]


def _quality_of(point: Point, curve: Sequence[Point]) -> float:
    return _quality_at(math.log2(point.bpp or 0.0), curve)


def _quality_at(rate: float, curve: Sequence[Point]) -> float:
    """Quality for a rate; beyond its ends the curve is extrapolated with the same slope."""
    rates, qualities = _rates(curve), [point.quality for point in curve]
    place = min(max(int(np.searchsorted(rates, rate)) - 1, 0), len(rates) - 2)
    slope = (qualities[place + 1] - qualities[place]) / (rates[place + 1] - rates[place])
    return qualities[place] + slope * (rate - rates[place])
