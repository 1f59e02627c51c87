"""Rotations that a film is coded under: some special ones, the rest evenly distributed over SO(3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from deepsphere_codec.errors import UsageError
from deepsphere_codec.sphere import (
    HealpixGrid,
    random_rotation,
    rotation_from_euler,
    rotation_from_vector,
    vector_from_rotation,
)
from deepsphere_codec.sphere.erp import erp_positions, sample_erp
from deepsphere_codec.sphere.rotation import rotation_from_quaternion
from deepsphere_codec.video import YuvFrame

IDENTITY = "identity"
NORTH, SOUTH = "busiest region to the north pole", "busiest region to the south pole"
POLES = (NORTH, SOUTH)
SLIGHT = "slight turn, 1°"
REGION_NSIDE = 4  # cells of 14.7°
FINEST = 64  # nodes along the edge of a cell; more, for films wider than 1024 pixels, would only cost memory

PSI = 1.533751168755204288118041  # psi^4 = psi + 4

Direction = Float64[np.ndarray, " 3"]


class Turn(NamedTuple):
    label: str
    rotation: Float64[Tensor, "3 3"]


def rotation_set(count: int, busiest: Direction, *, seed: int = 0) -> list[Turn]:
    """Make the rotations; equal arguments give equal rotations, but a smaller set is not a prefix of a larger one.

    Six are special: the identity; one degree about a tilted axis, which hardly changes the layout, so that its effect
    is that of resampling alone (a film without its finest detail is easier to code: on one clip x265 gains 0.1 dB and
    the first released model 0.4 dB); the busiest region to either pole; a quarter turn about the vertical axis, which
    only moves columns; and 47° about it. The others are a super-Fibonacci set, rotated as a whole by a random rotation.

    Args:
        count: Number of rotations.
        busiest: Unit vector of the busiest region, see `busiest_direction`.
        seed: Seed of the rotation of the super-Fibonacci set.
    Returns:
        Rotations with labels.
    Raises:
        UsageError: count is below 1.
    """
    if count < 1:
        raise UsageError(f"{count} rotations are too few; take at least 1, which is the film as it is")
    slight = math.radians(1) / math.sqrt(3) * torch.ones(3, dtype=torch.float64)
    named = [
        Turn(IDENTITY, torch.eye(3, dtype=torch.float64)),
        Turn(SLIGHT, rotation_from_vector(slight)),
        Turn(NORTH, _to_pole(busiest, 1)),
        Turn(SOUTH, _to_pole(busiest, -1)),
        Turn("yaw 90°", rotation_from_euler(math.radians(90), 0, 0)),
        Turn("yaw 47°", rotation_from_euler(math.radians(47), 0, 0)),
    ][:count]
    rest = super_fibonacci(count - len(named))
    whole = random_rotation(torch.Generator().manual_seed(seed))
    return named + [Turn(f"evenly spread {n}", whole @ rotation) for n, rotation in enumerate(rest, 1)]


def super_fibonacci(count: int) -> list[Float64[Tensor, "3 3"]]:
    """Make rotations that are evenly distributed over SO(3), [3, 3] each.

    Source: Alexa, Super-Fibonacci Spirals, CVPR 2022.
    """
    rotations = []
    for s in np.arange(count) + 0.5:
        r, r_other = math.sqrt(s / count), math.sqrt(1 - s / count)
        a, b = 2 * math.pi * s / math.sqrt(2), 2 * math.pi * s / PSI
        quaternion = [r * math.sin(a), r * math.cos(a), r_other * math.sin(b), r_other * math.cos(b)]
        rotations.append(rotation_from_quaternion(torch.tensor(quaternion, dtype=torch.float64)))
    return rotations


def busiest_direction(frames: Iterable[YuvFrame]) -> Direction:
    """Find the centre of the region with the most detail in space and time.

    Luma is sampled at HEALPix nodes about as dense as the pixels, which all have the same solid angle; each counts its
    mean absolute difference from its eight neighbours plus that from the previous frame. The busiest of the cells of
    nside 4 is the one with the largest mean.

    Args:
        frames: One frame or more, of the same size.
    Returns:
        Unit vector, [3].
    """
    frames = iter(frames)
    first = next(frames)
    height, width = first.y.shape
    inside = min(max(1, width // 4 // REGION_NSIDE), FINEST)
    grid = HealpixGrid.cached(REGION_NSIDE * inside)
    positions = [torch.from_numpy(each) for each in erp_positions(grid.centers, height, width)]
    neighbors = torch.from_numpy(np.where(grid.neighbors < 0, np.arange(grid.npix)[:, None], grid.neighbors))
    before = _at_nodes(first, positions)
    activity = _roughness(before, neighbors)
    for frame in frames:
        x = _at_nodes(frame, positions)
        activity += _roughness(x, neighbors) + (x - before).abs()
        before = x
    cells = activity.reshape(12, REGION_NSIDE, inside, REGION_NSIDE, inside).mean(dim=(2, 4))
    return HealpixGrid.cached(REGION_NSIDE).centers[int(cells.argmax())]


def lon_lat_deg(direction: Direction) -> tuple[float, float]:
    """Compute longitude and latitude in degrees."""
    x, y, z = direction
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def quaternion_of(rotation: Float64[Tensor, "3 3"]) -> tuple[float, float, float, float]:
    """Convert a rotation to a unit quaternion (w, x, y, z) with w >= 0; inverse of `rotation_from_quaternion`."""
    vector = vector_from_rotation(rotation)
    half = vector.norm() / 2
    x, y, z = (vector / 2 * torch.sinc(half / math.pi)).tolist()
    return math.cos(half), x, y, z


def _to_pole(direction: Direction, sign: int) -> Float64[Tensor, "3 3"]:
    lon, lat = (math.radians(angle) for angle in lon_lat_deg(direction))
    return rotation_from_euler(0, sign * math.pi / 2, 0) @ rotation_from_euler(lon, lat, 0).T


def _at_nodes(frame: YuvFrame, positions: list[Tensor]) -> Float[Tensor, " npix"]:
    return sample_erp(torch.from_numpy(frame.y.astype(np.float32))[..., None], *positions)[:, 0]


def _roughness(x: Float[Tensor, " npix"], neighbors: Tensor) -> Float[Tensor, " npix"]:
    return (x[neighbors] - x[:, None]).abs().mean(-1)
