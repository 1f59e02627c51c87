"""Conversion of an ERP picture's chroma planes between half resolution (4:2:0) and full resolution.

A chroma sample is the mean of the 2 x 2 pixels it covers. Upsampling preserves these means: each sample is split into
two halves per axis, c + s and c - s, where s comes from the quartic polynomial whose cell means are the five samples
around it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NEAR, FAR = 22 / 128, -3 / 128
"""s = NEAR (c[1] - c[-1]) + FAR (c[2] - c[-2]): exact for polynomials up to degree 4 given by their cell means."""


def chroma_up(plane: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h2 w2"]:
    """Double the resolution of a chroma plane, wrapping at +-180 degrees of longitude and over the poles.

    Args:
        plane: Chroma samples, [..., h, w], h at least 2 and w even.
    Returns:
        Plane at full resolution, [..., 2 h, 2 w]. `chroma_down` maps it back to `plane`, up to rounding. Values may
        slightly overshoot the input's range.
    Raises:
        ValueError: w is odd, or h is below 2.
    """
    height, width = plane.shape[-2:]
    if height < 2 or width < 2 or width % 2:
        raise ValueError(f"chroma plane of {height} x {width}: it needs at least 2 rows and an even number of columns")
    over_pole = plane.roll(width // 2, -1)
    tall = torch.cat([over_pole[..., :2, :].flip(-2), plane, over_pole[..., -2:, :].flip(-2)], dim=-2)
    rows = _split(tall, -2)
    return _split(torch.cat([rows[..., -2:], rows, rows[..., :2]], dim=-1), -1)


def _split(padded: Tensor, axis: int) -> Tensor:
    """Split every cell in two along an axis that is padded by two samples at both ends."""
    size = padded.shape[axis] - 4
    previous2, previous, center, following, following2 = (padded.narrow(axis, k, size) for k in range(5))
    slope = NEAR * (following - previous) + FAR * (following2 - previous2)
    return torch.stack([center - slope, center + slope], dim=axis).flatten(axis - 1, axis)


def chroma_down(plane: Float[Tensor, "*batch h2 w2"]) -> Float[Tensor, "*batch h w"]:
    """Halve the resolution of a chroma plane by averaging each 2 x 2 block.

    Args:
        plane: Plane at full resolution, [..., 2 h, 2 w].
    Returns:
        Chroma samples, [..., h, w].
    Raises:
        ValueError: an odd number of rows or columns.
    """
    height, width = plane.shape[-2:]
    if height % 2 or width % 2:
        raise ValueError(f"plane of {height} x {width}: rows and columns must be even; crop it first")
    return plane.unflatten(-1, (width // 2, 2)).unflatten(-3, (height // 2, 2)).mean(dim=(-3, -1))
