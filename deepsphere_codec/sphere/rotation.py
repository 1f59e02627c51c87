"""Rotations of the sphere, SO(3), as 3 x 3 matrices in float64: a direction d turns into R d."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

Vector = Float64[Tensor, "*shape 3"]
Rotation = Float64[Tensor, "*shape 3 3"]

SMALL_SQUARE = 1e-3
"""Below this squared angle the Taylor series is used: its error is under 1e-16."""


def rotation_from_vector(vector: Vector) -> Rotation:
    """Exponential map of SO(3): the right-handed rotation about `vector` by |vector| radians.

    Args:
        vector: Axis times angle, [..., 3], any real dtype.
    Returns:
        R = I + sin a / a [w] + (1 - cos a) / a^2 [w]^2 (Rodrigues), [..., 3, 3], float64.
    """
    w = vector.to(torch.float64)
    square = (w * w).sum(-1)[..., None, None]
    small = square < SMALL_SQUARE
    angle = torch.where(small, 1.0, square).sqrt()
    sinc = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), angle.sin() / angle)
    half = torch.where(small, 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56)), (1 - angle.cos()) / angle**2)
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=torch.float64, device=w.device) + sinc * cross + half * (cross @ cross)


def vector_from_rotation(rotation: Rotation) -> Vector:
    """Logarithm map of SO(3), the inverse of `rotation_from_vector`, accurate up to half a turn.

    Args:
        rotation: Rotation matrices, [..., 3, 3].
    Returns:
        Axis times angle, [..., 3], float64, the angle in 0 .. pi (at pi the axis is one of the two opposite ones).
    """
    quaternion = _quaternion_from_rotation(rotation.to(torch.float64))
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    axis = quaternion[..., 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    return axis * torch.where(sine > 0, angle / torch.where(sine > 0, sine, 1.0), 2.0)


def _quaternion_from_rotation(r: Rotation) -> Float64[Tensor, "*shape 4"]:
    """Unit quaternion (w, x, y, z). The matrix gives 4 q q^T; the row with the largest diagonal has no cancellation."""
    trace = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2]
    skew = [r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]]
    xy, xz, yz = (r[..., i, j] + r[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    xx, yy, zz = (1 + 2 * r[..., i, i] - trace for i in range(3))
    products = torch.stack([1 + trace, *skew, skew[0], xx, xy, xz, skew[1], xy, yy, yz, skew[2], xz, yz, zz], dim=-1)
    products = products.unflatten(-1, (4, 4))
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(products, largest[..., None, None], dim=-2).squeeze(-2)
    return torch.nn.functional.normalize(row, dim=-1)


def random_rotation(generator: torch.Generator | None = None) -> Float64[Tensor, "3 3"]:
    """Draw a rotation uniformly (Haar measure), [3, 3], float64.

    Source: a unit quaternion from four normal deviates, Shoemake, Graphics Gems III, 1992.
    """
    return rotation_from_quaternion(torch.randn(4, generator=generator, dtype=torch.float64))


def rotation_from_quaternion(quaternion: Float64[Tensor, " 4"]) -> Float64[Tensor, "3 3"]:
    """Rotation matrix, [3, 3], float64, of a non-zero quaternion (w, x, y, z) of any length."""
    w, x, y, z = (quaternion / quaternion.norm()).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )


def rotation_from_euler(yaw: float, pitch: float, roll: float) -> Float64[Tensor, "3 3"]:
    """Compute the rotation Rz(yaw) Ry(-pitch) Rx(roll).

    It takes the direction at longitude 0, latitude 0 to longitude yaw, latitude pitch.

    Args:
        yaw: Longitude, radians.
        pitch: Latitude, radians.
        roll: Rotation about the line of sight, radians; lifts the side of increasing longitude (the right-hand side of
            an ERP picture).
    Returns:
        Rotation matrix, [3, 3], float64.
    """
    cy, sy, cp, sp, cr, sr = (f(angle) for angle in (yaw, pitch, roll) for f in (math.cos, math.sin))
    about_z = torch.tensor([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]], dtype=torch.float64)
    about_y = torch.tensor([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]], dtype=torch.float64)
    about_x = torch.tensor([[1, 0, 0], [0, cr, -sr], [0, sr, cr]], dtype=torch.float64)
    return about_z @ about_y @ about_x
