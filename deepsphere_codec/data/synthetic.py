"""A generated 360° film whose motion is known: a turning camera in a still place, and balloons that drift.

It needs no footage: the demo codes it, and tests that want true motion read it from here.
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
OVERSAMPLING = 1.5  # the still place is drawn once, this much finer than the film, and looked up in every frame
BLOCK_ROWS = 64  # drawn at a time, to stay in the processor's cache


def synthetic_film(
    width: int,
    height: int,
    frames: int,
    seed: int = 0,
    degrees_per_frame: float = DEFAULT_DEGREES,
    axis: Axis = DEFAULT_AXIS,
) -> Iterator[YuvFrame]:
    """Frames of the film, BT.709, limited range; the same arguments give the same film.

    Args:
        width, height: Even; 2:1 for round pixels at the equator.
        frames: How many.
        seed: Another seed, another place.
        degrees_per_frame: How far the camera turns from frame to frame.
        axis: What it turns about, in the world's x, y, z (z is up); see `camera_rotation`.
    Raises:
        ValueError: a size is odd or not positive, frames is negative, or the axis is zero.
    """
    if width < 2 or height < 2 or width % 2 or height % 2 or frames < 0 or not any(axis):
        raise ValueError(f"got {width}x{height}, {frames} frames, axis {axis}; expected even sizes and an axis")
    return _frames(width, height, frames, seed, degrees_per_frame, axis)


def camera_rotation(number: int, degrees_per_frame: float = DEFAULT_DEGREES, axis: Axis = DEFAULT_AXIS) -> Rotation:
    """The rotation R of the camera in a frame: what is seen there in direction d lies in the world's direction R d.

    In frame 0 it is the identity. What stands still and is seen in direction d in frame a is seen in R_b^T R_a d in
    frame b.

    Returns:
        [3, 3], float64: the turn about `axis` by number * degrees_per_frame, right-handed.
    """
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(number * degrees_per_frame)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def erp_directions(width: int, height: int) -> Directions:
    """Unit vectors of the pixels' centres, row by row, [height * width, 3]; the picture's middle is +x."""
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
    """A place drawn once as an ERP picture, to be looked up bilinearly in any direction."""

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
