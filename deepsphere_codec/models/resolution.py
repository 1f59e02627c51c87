"""Choice of the resolution that a film is coded at: at low rates, fewer nodes give better pictures.

At the same quality a lower resolution takes fewer bits and loses detail. Below some rate the detail is lost anyway, and
at equal rates the lower resolution gives the better picture. The requested quality refers to the full resolution, nside
a quarter of the width. At a lower resolution the networks work at a higher quality, so that the rate is about that of
the full resolution, and changes smoothly where the resolution changes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.models import LoadedModel

MAX_QUALITY = 8.0
SHARES = ((1.5, 0.5), (3.5, 0.75), (math.inf, 1.0))
"""Share of the full resolution for qualities below a bound: pairs of bound and share.

Measured on four training films, see results/resolution."""
STEEPNESS = 2.1
"""Increase of the networks' quality per halving of nside at equal rate, measured on the same films."""
RULE = ", ".join(f"{share:g} of it below quality {bound:g}" for bound, share in SHARES) + f"; {STEEPNESS:g} to the half"
"""Description of the rule, stored with the settings of measurements."""


class OperatingPoint(NamedTuple):
    """Resolution and quality that a film is coded at.

    Attributes:
        nside: Resolution of the nodes.
        model_quality: Quality that the networks work at.
    """

    nside: int
    model_quality: float


def choose_resolution(model: LoadedModel, width: int, quality: float, nside: int | None = None) -> OperatingPoint:
    """Choose the resolution of a film, and the quality that the networks work at there.

    Args:
        model: Model; nside is a multiple of its `nside_multiple`.
        width: Width of the film, pixels.
        quality: Requested quality, 1 … 8.
        nside: Requested resolution, at which the networks work at the requested quality; None to choose one.
    Returns:
        Resolution and quality.
    Raises:
        UsageError: nside is not a multiple of `model.nside_multiple`.
    """
    step = model.nside_multiple
    if nside is not None:
        return OperatingPoint(_checked(nside, step, model.name), quality)
    full = step * max(1, math.ceil(width / 4 / step))
    share = next(share for bound, share in SHARES if quality < bound)
    nside = step * max(1, round(share * full / step))
    return OperatingPoint(nside, min(MAX_QUALITY, quality + STEEPNESS * math.log2(full / nside)))


def _checked(nside: int, step: int, name: str) -> int:
    if nside < 1 or nside % step:
        below, above = nside // step * step, (nside // step + 1) * step
        near = f"{below} or {above}" if below > 0 else f"{step}"
        raise UsageError(f"nside {nside} does not work with {name}; it takes multiples of {step}, such as {near}")
    return nside
