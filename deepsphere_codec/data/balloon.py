"""Hot-air balloons: objects that move independently of the camera in a generated film."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deepsphere_codec.data.noise import Values
from deepsphere_codec.data.scenery import Colour, Colours, Directions, inside, mix

PAINTS: tuple[tuple[Colour, Colour], ...] = (
    ((0.86, 0.16, 0.14), (0.98, 0.90, 0.74)),
    ((0.10, 0.38, 0.66), (0.96, 0.82, 0.26)),
    ((0.15, 0.55, 0.40), (0.95, 0.93, 0.86)),
    ((0.95, 0.52, 0.13), (0.42, 0.13, 0.38)),
)
GORES = 5  # stripes on the visible half
BASKET, ROPE = (0.36, 0.22, 0.12), (0.20, 0.16, 0.15)
REACH = 2.0  # how far the basket hangs below the middle, in radii


class Balloon(NamedTuple):
    """A striped ball with a basket that drifts about the vertical axis; angles in radians."""

    lon: float
    lat: float
    drift: float
    """Change of lon per frame."""
    radius: float
    paints: tuple[Colour, Colour]

    def paint(self, colours: Colours, directions: Directions, number: int, softness: float) -> None:
        """Draw the balloon at its position in frame `number`.

        Args:
            colours: Colours of the pixels, [pixels, 3], changed in place.
            directions: Unit vectors of the pixels in world coordinates, [pixels, 3].
            number: Number of the frame.
            softness: Width of an edge in radians, about one pixel.
        """
        lon = self.lon + self.drift * number
        sin_lon, cos_lon, sin_lat, cos_lat = math.sin(lon), math.cos(lon), math.sin(self.lat), math.cos(self.lat)
        centre = np.array([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat], np.float32)
        right = np.array([-sin_lon, cos_lon, 0], np.float32)
        up = np.array([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], np.float32)
        toward = directions @ centre
        rows = np.flatnonzero(toward > math.cos(REACH * self.radius))
        scale = toward[rows] * np.float32(math.tan(self.radius))
        x, y = directions[rows] @ right / scale, directions[rows] @ up / scale
        colours[rows] = self._over(colours[rows], x, y, softness / self.radius)

    def _over(self, below: Colours, x: Values, y: Values, soft: float) -> Colours:
        """Paint the balloon over colours, in plane coordinates where its ball is the unit disc."""
        rope = np.abs(np.abs(x) - (0.14 + 0.28 * np.clip((y + 1.5) / 0.6, 0, 1)))
        hangs = inside(np.minimum(0.02 - rope, np.minimum(y + 1.5, -0.85 - y)), soft)
        basket = inside(np.minimum(0.18 - np.abs(x), 0.15 - np.abs(y + 1.62)), soft)
        drawn = mix(mix(below, ROPE, hangs), BASKET, basket)
        bow = np.sqrt(np.clip(1 - y * y, 1e-4, None))
        gore = np.arcsin(np.clip(x / bow, -1, 1)) / math.pi * GORES
        stripe = inside(0.25 - np.abs((gore + 0.25) % 1 - 0.5), soft * GORES / 3)
        light = 0.62 + 0.30 * np.clip(0.7 * x + 0.6 * y, -1, 1) + 0.16 * np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
        ball = mix(self.paints[0], self.paints[1], stripe) * light[:, None]
        ball = mix(ball, mix(self.paints[0], ROPE, 0.35), inside(0.07 - np.abs(y + 0.32), soft))
        # spherical in its upper half, narrowing to a mouth in the lower one
        mouth = np.where(y < 0, bow - 0.30 * y * y * bow, bow)
        return mix(drawn, ball, inside(np.minimum(mouth - np.abs(x), 0.97 + y), soft) * (y < 1))


def drifting(rng: np.random.Generator, number: int, count: int) -> Balloon:
    """Draw balloon `number` out of `count`, which are spread around the horizon.

    Args:
        rng: Source of random numbers.
        number: Number of the balloon, from 0.
        count: Number of balloons in the film.
    Returns:
        Balloon with random position, size and drift.
    """
    lon = 2 * math.pi * (number + rng.uniform(0.1, 0.9)) / count
    return Balloon(
        lon=float(lon),
        lat=float(rng.uniform(0.15, 0.75)),
        drift=float(rng.choice([-1, 1]) * rng.uniform(0.002, 0.008)),
        radius=float(rng.uniform(0.05, 0.13)),
        paints=PAINTS[number % len(PAINTS)],
    )
