"""Tangent vectors of the unit sphere, in radians: projection, exponential and logarithm map.

A tangent vector v at p stands for the great-circle step of length |v| from p in the direction of v. All three
functions work in the dtype and on the device of their inputs and are differentiable, at v = 0 and q = p too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Vectors = Float[Tensor, "*#shape 3"]

SMALL_SQUARE = 1e-3
"""Below this squared angle the Taylor series is used: its error is under 1e-16, and it avoids the root of zero."""


def project(p: Vectors, u: Vectors) -> Vectors:
    """Project u onto the tangent plane of the sphere at p.

    Args:
        p: Unit vectors, [..., 3].
        u: Any vectors, [..., 3].
    Returns:
        u - (p . u) p, [..., 3].
    """
    return u - (p * u).sum(-1, keepdim=True) * p


def exp_map(p: Vectors, v: Vectors) -> Vectors:
    """Exponential map: the point |v| radians from p along the great circle in the direction of v.

    Args:
        p: Unit vectors, [..., 3].
        v: Tangent vectors at p, [..., 3] (broadcast against p).
    Returns:
        cos|v| p + sin|v| / |v| v, unit vectors, [..., 3].
    """
    square = (v * v).sum(-1, keepdim=True)
    small = square < SMALL_SQUARE
    angle = torch.where(small, 1.0, square).sqrt()
    cosine = torch.where(small, 1 - square / 2 * (1 - square / 12 * (1 - square / 30)), angle.cos())
    sinc = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), angle.sin() / angle)
    return cosine * p + sinc * v


def log_map(p: Vectors, q: Vectors) -> Vectors:
    """Logarithm map: the tangent vector at p that leads to q, the inverse of `exp_map` for |v| <= pi.

    Args:
        p: Unit vectors, [..., 3].
        q: Unit vectors, [..., 3] (broadcast against p).
    Returns:
        Tangent vectors, [..., 3], whose length is the angle between p and q. For q = -p, where the direction is not
        unique, one vector of length pi is returned.
    """
    # Projecting q - p instead of q keeps short steps accurate: the large terms cancel before rounding.
    side = project(p, q - p)
    square = (side * side).sum(-1, keepdim=True)
    cosine = (p * q).sum(-1, keepdim=True)
    small = square < SMALL_SQUARE
    sine = torch.where(square > 0, square, 1.0).sqrt()
    series = 1 + square / 6 * (1 + square * 9 / 20 * (1 + square * 25 / 42))
    scale = torch.where(small & (cosine > 0), series, torch.atan2(sine, cosine) / sine)
    opposite = (square == 0) & (cosine < 0)
    return torch.where(opposite, torch.pi * _some_tangent(p), scale * side)


def _some_tangent(p: Vectors) -> Vectors:
    """Unit tangent vector at p, along the coordinate axis that is farthest from p."""
    axis = torch.nn.functional.one_hot(p.detach().abs().argmin(-1), 3).to(p.dtype)
    return torch.nn.functional.normalize(project(p, axis), dim=-1)
