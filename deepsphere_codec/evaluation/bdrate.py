"""BD-rate: difference in bits at equal quality, in per cent, over the range that both curves cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deepsphere_codec.evaluation.results import Point, Results
from deepsphere_codec.runtime.extras import optional_imports

with optional_imports():
    import bjontegaard

MIN_OVERLAP = 0.8  # below it, a BD-rate covers only a part of the curves and has a note


class BdRate(NamedTuple):
    """BD-rate in per cent, negative if fewer bits are needed than for the anchor; None if it is undefined."""

    akima: float | None
    pchip: float | None
    overlap: float  # of the two curves' dB ranges: their intersection over their union, 0 to 1
    note: str  # reason why there is none, or that the overlap is small; otherwise empty


class BdRow(NamedTuple):
    """BD-rates of one codec against the anchor."""

    name: str
    clips: int  # number of clips that both measured and the BD-rates cover
    mean_curve: BdRate
    per_clip: float | None  # mean over clips of the clips' own BD-rates (PCHIP); None unless every clip has one


def bd_rate(anchor: Sequence[Point], test: Sequence[Point]) -> BdRate:
    """Compute the BD-rate over WS-PSNR-YUV, by Akima and by PCHIP interpolation.

    Source: Bjontegaard, VCEG-M33, 2001; Herglotz et al., arXiv 2304.12852 (interpolation); the bjontegaard package.

    Args:
        anchor: Points of the reference curve, in any order; points without a rate are left out.
        test: Points of the other curve.
    Returns:
        BD-rates, or the reason why there is none.
    """
    curves = [_curve(anchor), _curve(test)]
    if any(len(rates) < 2 for rates, _ in curves):
        return BdRate(None, None, 0.0, "fewer than two points")
    if any(np.any(np.diff(decibels) <= 0) for _, decibels in curves):
        return BdRate(None, None, 0.0, "a curve falls: more bits, no more dB")
    (rates, decibels), (rates_test, decibels_test) = curves
    overlap = _overlap(decibels, decibels_test)
    if overlap == 0:
        return BdRate(None, None, 0.0, "no common range of dB")
    akima, pchip = (
        float(
            bjontegaard.bd_rate(
                rates, decibels, rates_test, decibels_test, method, require_matching_points=False, min_overlap=0
            )
        )
        for method in ("akima", "pchip")
    )
    note = f"curves overlap by {overlap:.0%} only" if overlap < MIN_OVERLAP else ""
    return BdRate(akima, pchip, overlap, note)


def bd_rows(anchor: Results, tests: Sequence[Results]) -> list[BdRow]:
    """Compare each codec with the anchor, on the clips that both measured.

    Args:
        anchor: Results of the codec to compare with.
        tests: Results of the other codecs.
    Returns:
        One row for each other codec.
    """
    return [_row(anchor, test) for test in tests]


def _row(anchor: Results, test: Results) -> BdRow:
    common = sorted(set(anchor.clips) & set(test.clips))
    anchor, test = anchor.on_clips(common), test.on_clips(common)
    each = [bd_rate(anchor.clips[clip], test.clips[clip]).pchip for clip in common]
    known = [value for value in each if value is not None]
    per_clip = sum(known) / len(known) if known and len(known) == len(each) else None
    return BdRow(test.name, len(common), bd_rate(anchor.mean, test.mean), per_clip)


def _curve(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Rates and decibels, sorted by rate."""
    pairs = sorted((point.bpp, point.ws_psnr_yuv) for point in points if point.bpp)
    rates, decibels = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(rates), np.array(decibels)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = max(a.max(), b.max()) - min(a.min(), b.min())
    return float(max(min(a.max(), b.max()) - max(a.min(), b.min()), 0.0) / union)
