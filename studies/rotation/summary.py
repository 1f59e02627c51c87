"""Spreads of a codec's rate and quality under rotations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from deepsphere_codec.metrics.psnr import MAX_DB
from studies.rotation.set import IDENTITY


@dataclass(frozen=True)
class Neighbour:
    """Point at a neighbouring quality, at the identity."""

    quality: float
    bpp: float
    ws_psnr_yuv: float


@dataclass(frozen=True)
class RotationPoint:
    """Point at one rotation; decibels are means over frames."""

    label: str
    quaternion: tuple[float, ...]  # (w, x, y, z)
    bpp: float
    ws_psnr_yuv: float  # decoded and rotated back, against the source rotated there and back without coding
    ws_psnr_y: float
    rotated_ws_psnr_yuv: float  # decoded against its source, both rotated
    rotated_ws_psnr_y: float
    resampling_ws_psnr_yuv: float  # rotated there and back without coding, against the source


@dataclass(frozen=True)
class Spreads:
    """Spread (largest minus smallest value) and std (standard deviation of a sample) over rotations.

    Those of bpp are relative to its mean. Without a slope there are no values at equal rate.
    """

    count: float
    ws_psnr_yuv_mean: float
    ws_psnr_yuv_spread: float
    ws_psnr_yuv_std: float
    rotated_ws_psnr_yuv_spread: float
    rotated_ws_psnr_yuv_std: float
    bpp_mean: float
    bpp_spread: float
    bpp_std: float
    equal_rate_spread: float | None
    equal_rate_std: float | None


class Summary(NamedTuple):
    """Spreads over all rotations, and over those with resampling; None if there are no such rotations."""

    all: Spreads | None
    resampled: Spreads | None  # without rotations that only move whole columns, which need no resampling


def slope_of(neighbours: Sequence[Neighbour]) -> float | None:
    """Compute the slope in dB per doubling of the rate between the outermost points; None if it is undefined."""
    by_rate = sorted(neighbours, key=lambda each: each.bpp)
    if len(by_rate) < 2 or not 0 < by_rate[0].bpp < by_rate[-1].bpp:
        return None
    first, last = by_rate[0], by_rate[-1]
    return (last.ws_psnr_yuv - first.ws_psnr_yuv) / math.log2(last.bpp / first.bpp)


def equal_rate(points: Sequence[RotationPoint], slope: float) -> list[float]:
    """Compute the decibels that the codec would reach at the rate of the identity (or of the first point without one).

    The approximation is of first order: WS-PSNR-YUV minus slope * log2(bpp / bpp of the identity), with the same slope
    for all rotations.

    Args:
        points: Points.
        slope: Slope, dB per doubling of the rate.
    Returns:
        WS-PSNR-YUV of each point, dB.
    """
    (bpp,) = [each.bpp for each in points if each.label == IDENTITY] or [points[0].bpp]
    return [each.ws_psnr_yuv - slope * math.log2(each.bpp / bpp) for each in points]


def summarise(points: Sequence[RotationPoint], slope: float | None) -> Summary:
    """Compute the spreads over all rotations, and over those that resample the film.

    Args:
        points: Points.
        slope: Slope, dB per doubling of the rate; None if unknown.
    Returns:
        Spreads.
    """
    return Summary(
        _spreads(points, slope), _spreads([each for each in points if each.resampling_ws_psnr_yuv < MAX_DB], slope)
    )


def mean_summary(summaries: Sequence[Summary]) -> Summary:
    """Compute means of the clips' values over clips."""
    return Summary(
        _mean([each.all for each in summaries if each.all]),
        _mean([each.resampled for each in summaries if each.resampled]),
    )


def spread_table(summaries: Mapping[str, Summary]) -> str:
    """Format the spreads of each codec, one line for all rotations and one for those that resample."""
    width = max([len(name) for name in summaries] + [len("codec")])
    lines = [
        "Spread (max - min) / standard deviation over rotations, mean over clips: WS-PSNR-YUV in dB, bpp of its mean",
        f"{'codec':<{width}}  {'rotations':<9}  {'dB':>11}  {'turned dB':>11}  {'bpp':>12}  {'equal rate dB':>13}",
    ]
    for name, summary in summaries.items():
        for rotations, each in summary._asdict().items():
            if each is not None:
                lines.append(f"{name:<{width}}  {rotations:<9}  {_table_line(each)}")
    return "\n".join(lines)


def _table_line(each: Spreads) -> str:
    decibels = f"{each.ws_psnr_yuv_spread:.2f} / {each.ws_psnr_yuv_std:.2f}"
    turned = f"{each.rotated_ws_psnr_yuv_spread:.2f} / {each.rotated_ws_psnr_yuv_std:.2f}"
    rate = f"{each.bpp_spread:.1%} / {each.bpp_std:.1%}"
    equal = "-" if each.equal_rate_spread is None else f"{each.equal_rate_spread:.2f} / {each.equal_rate_std:.2f}"
    return f"{decibels:>11}  {turned:>11}  {rate:>12}  {equal:>13}"


def _spreads(points: Sequence[RotationPoint], slope: float | None) -> Spreads | None:
    if not points:
        return None
    decibels = [each.ws_psnr_yuv for each in points]
    rotated = [each.rotated_ws_psnr_yuv for each in points]
    rates = [each.bpp for each in points]
    mean = statistics.fmean(rates)
    equal = None if slope is None else equal_rate(points, slope)
    return Spreads(
        count=len(points),
        ws_psnr_yuv_mean=statistics.fmean(decibels),
        ws_psnr_yuv_spread=_range(decibels),
        ws_psnr_yuv_std=_std(decibels),
        rotated_ws_psnr_yuv_spread=_range(rotated),
        rotated_ws_psnr_yuv_std=_std(rotated),
        bpp_mean=mean,
        bpp_spread=_range(rates) / mean,
        bpp_std=_std(rates) / mean,
        equal_rate_spread=None if equal is None else _range(equal),
        equal_rate_std=None if equal is None else _std(equal),
    )


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _std(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _mean(all_spreads: Sequence[Spreads]) -> Spreads | None:
    if not all_spreads:
        return None
    means: dict[str, Any] = {}
    for name in (each.name for each in fields(Spreads)):
        values = [getattr(each, name) for each in all_spreads]
        means[name] = None if None in values else statistics.fmean(values)
    return Spreads(**means)
