"""Generated 360° film with known motion: a rotating camera in a static scene, and drifting balloons.

It needs no footage: the demo encodes it, and tests use it where they need true motion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int32

from deepsphere_codec.data.balloon import Balloon, drifting
from deepsphere_codec.data.noise import Values
from deepsphere_codec.data.scenery import Colours, Directions, Scenery
from deepsphere_codec.video import YuvFrame, rgb_to_yuv

Axis = tuple[float, float, float]
Rotation = Float64[np.ndarray, "3 3"]

DEFAULT_AXIS: Axis = (0.10, 0.20, 1.0)
DEFAULT_DEGREES = 0.5

BALLOONS = 7
OVERSAMPLING = 1.5  # resolution of the static scene, rendered once, relative to the film
BLOCK_ROWS = 64  # rows rendered at a time, to fit in the processor's cache


def synthetic_film(
    width: int,
    height: int,
    frames: int,
    seed: int = 0,
    degrees_per_frame: float = DEFAULT_DEGREES,
    axis: Axis = DEFAULT_AXIS,
) -> Iterator[YuvFrame]:
    """Generate the frames of a film, BT.709, limited range; the same arguments give the same film.

    Args:
        width: Width in pixels, even.
        height: Height in pixels, even; half the width for square pixels at the equator.
        frames: Number of frames.
        seed: Seed of the scene.
        degrees_per_frame: Rotation of the camera from frame to frame, degrees.
        axis: Axis of the rotation in the world's x, y, z (z is up); see `camera_rotation`.
    Returns:
        Iterator over the frames, 8 bit 4:2:0.
    Raises:
        ValueError: a size is odd or not positive, frames is negative, or the axis is zero.
    """
    if width < 2 or height < 2 or width % 2 or height % 2 or frames < 0 or not any(axis):
        raise ValueError(f"got {width}x{height}, {frames} frames, axis {axis}; expected even sizes and an axis")
    return _frames(width, height, frames, seed, degrees_per_frame, axis)


def camera_rotation(number: int, degrees_per_frame: float = DEFAULT_DEGREES, axis: Axis = DEFAULT_AXIS) -> Rotation:
    """Compute the camera's rotation R in a frame: direction d in the camera is direction R d in the world.

    In frame 0 it is the identity. A static point seen in direction d in frame a is seen in direction R_b^T R_a d in
    frame b.

    Args:
        number: Number of the frame.
        degrees_per_frame: Rotation from frame to frame, degrees.
        axis: Axis of the rotation in the world's x, y, z.
    Returns:
        Right-handed rotation about `axis` by number * degrees_per_frame, [3, 3], float64.
    """
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(number * degrees_per_frame)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def erp_directions(width: int, height: int) -> Directions:
    """Compute the unit vectors of an ERP picture's pixel centres, row by row; the picture's centre is +x.

    Args:
        width: Width in pixels.
        height: Height in pixels.
    Returns:
        Unit vectors, [height * width, 3], float32.
    """
    lat = math.pi / 2 - (np.arange(height) + 0.5) / height * math.pi
    lon = (np.arange(width) + 0.5) / width * 2 * math.pi - math.pi
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    return vectors.reshape(-1, 3).astype(np.float32)


def _frames(
    width: int, height: int, frames: int, seed: int, degrees_per_frame: float, axis: Axis
) -> Iterator[YuvFrame]:
    rng = np.random.default_rng(seed)
    softness = 2 * math.pi / width
    place = _Panorama(Scenery(rng, softness), round(OVERSAMPLING * width), round(OVERSAMPLING * height))
    balloons: list[Balloon] = [drifting(rng, number, BALLOONS) for number in range(BALLOONS)]
    directions = erp_directions(width, height)
    for number in range(frames):
        world = directions @ camera_rotation(number, degrees_per_frame, axis).T.astype(np.float32)
        colours = place.look(world)
        for balloon in balloons:
            balloon.paint(colours, world, number, softness)
        rgb = np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8)
        yield rgb_to_yuv(rgb.reshape(height, width, 3))


class _Panorama:
    """A static scene rendered once as an ERP picture, to be sampled bilinearly in any direction."""

    def __init__(self, scenery: Scenery, width: int, height: int) -> None:
        self._width, self._height = width, height
        directions = erp_directions(width, height)
        step = BLOCK_ROWS * width
        self._colours = np.concatenate(
            [scenery.colours(directions[first : first + step]) for first in range(0, len(directions), step)]
        )

    def look(self, directions: Directions) -> Colours:
        lon = np.arctan2(directions[:, 1], directions[:, 0])
        lat = np.arcsin(np.clip(directions[:, 2], -1, 1))
        column = (lon + math.pi) * (self._width / (2 * math.pi)) - 0.5
        row = np.clip((math.pi / 2 - lat) * (self._height / math.pi) - 0.5, 0, self._height - 1)
        left, top = np.floor(column), np.floor(row)
        u, v = (column - left)[:, None], (row - top)[:, None]
        left, top = left.astype(np.int32), top.astype(np.int32)
        bottom = np.minimum(top + 1, self._height - 1)
        upper = self._between(top, left, u)
        return upper + (self._between(bottom, left, u) - upper) * v

    def _between(self, row: Int32[np.ndarray, " pixels"], left: Int32[np.ndarray, " pixels"], u: Values) -> Colours:
        start = row * self._width
        a = self._colours[start + left % self._width]
        return a + (self._colours[start + (left + 1) % self._width] - a) * u
