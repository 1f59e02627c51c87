"""Generated scenery: evening sky, mountains, a town with lit windows, and a lake that reflects them.

All of it is a function of the viewing direction, so that it can be rendered for any rotation of the camera.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from deepsphere_codec.data.lettering import lettering
from deepsphere_codec.data.noise import Noise, Values

Directions = Float32[np.ndarray, "pixels 3"]
Colours = Float32[np.ndarray, "pixels 3"]
"""RGB colours, 0 ... 1."""
Colour = tuple[float, float, float]
Mixed = Float32[np.ndarray, "... 3"]

TEXT = "DEEPSPHERE CODEC "

ZENITH, MIDDLE, HORIZON = ((0.10, 0.20, 0.45), (0.42, 0.52, 0.76), (1.00, 0.74, 0.52))
FAR_ROCK, NEAR_ROCK, HAZE = (0.50, 0.47, 0.62), (0.10, 0.14, 0.17), (0.93, 0.68, 0.56)
SUN, GLOW, CLOUD_LIGHT, CLOUD_SHADE = (1.00, 0.98, 0.90), (1.0, 0.78, 0.48), (1.00, 0.88, 0.80), (0.50, 0.46, 0.60)
WATER, STONE, DARK_STONE, MORTAR = (0.05, 0.13, 0.20), (0.74, 0.64, 0.54), (0.46, 0.34, 0.31), (0.18, 0.15, 0.16)
WALL, GLASS, WINDOW = (0.30, 0.27, 0.36), (0.16, 0.18, 0.27), (1.00, 0.82, 0.42)

RIDGE_LAYERS = 4
PLATFORM = 2.3  # radius in eye heights
TILE_RINGS = (0.62, 1.0, 1.36, 1.7)


class Tower(NamedTuple):
    """Building of the town."""

    lon: float
    half_width: float
    """Half of the angular width, radians."""
    height: float
    """Tangent of the elevation of the roof."""
    floors: int
    columns: int
    shade: float


class Scenery:
    """One scene, determined by the random numbers.

    Args:
        rng: Source of random numbers for the sun's position, the mountains, the town and the clouds.
        softness: Width of an edge in radians, about one pixel of the film.
    """

    def __init__(self, rng: np.random.Generator, softness: float) -> None:
        self._softness = softness
        self._noise = Noise(rng)
        self._sun_lon = rng.uniform(0.4, 0.8)
        self._sun = _direction(self._sun_lon, 0.30)
        self._ridges = [_ridge(rng, layer) for layer in range(RIDGE_LAYERS)]
        self._towers = _town(rng, self._sun_lon + np.pi * rng.uniform(0.75, 1.0))
        self._lit = rng.random((64, 64)) < 0.45
        self._text = lettering(TEXT)

    def colours(self, directions: Directions) -> Colours:
        """Compute the colours, [pixels, 3], seen in the directions of unit vectors, [pixels, 3] (z is up)."""
        x, y, z = directions.T
        below = z < 0
        seen = directions.copy()
        seen[below] = self._mirrored(directions[below])
        colours = self._above(seen)
        if below.any():
            colours[below] = self._ground(directions[below], colours[below])
        return colours

    def _above(self, directions: Directions) -> Colours:
        lon = np.arctan2(directions[:, 1], directions[:, 0])
        height = directions[:, 2] / np.maximum(np.hypot(directions[:, 0], directions[:, 1]), 1e-4)
        colours = self._sky(directions)
        for layer, ridge in enumerate(self._ridges):
            self._paint_ridge(colours, lon, height, ridge, layer / (RIDGE_LAYERS - 1))
            if layer == RIDGE_LAYERS - 2:
                self._paint_town(colours, lon, height)
        return colours

    def _sky(self, directions: Directions) -> Colours:
        z = np.maximum(directions[:, 2], 0)
        colours = mix(HORIZON, MIDDLE, np.clip(z / 0.32, 0, 1) ** 0.8)
        colours = mix(colours, ZENITH, np.clip((z - 0.15) / 0.85, 0, 1) ** 0.9)
        toward_sun = np.clip(directions @ self._sun, -1, 1)
        angle = np.arccos(toward_sun)
        self._paint_clouds(colours, directions, z, toward_sun)
        glow = 0.55 * np.exp(-angle / 0.22) + 0.35 * np.exp(-((angle / 0.07) ** 2))
        colours += glow[:, None] * np.asarray(GLOW, np.float32)
        return mix(np.minimum(colours, 1), SUN, inside(0.035 - angle, self._softness))

    def _paint_clouds(self, colours: Colours, directions: Directions, z: Values, toward_sun: Values) -> None:
        """Paint a flat layer of clouds, brighter on the side that faces the sun."""
        far = 1.1 / (z + 0.18)
        x, y = directions[:, 0] * far, directions[:, 1] * far
        footprint = 2 * self._softness * far**2
        here = self._noise.fractal(x * 1.3, y * 1.3 + 40, 7, 1.3 * footprint)
        sunward = self._noise.fractal(
            (x + 0.12 * self._sun[0]) * 1.3, (y + 0.12 * self._sun[1]) * 1.3 + 40, 4, 1.3 * footprint
        )
        cover = np.clip((here - 0.47) / 0.24, 0, 1) * np.clip(z / 0.12, 0, 1)
        light = np.clip(0.55 + 2.2 * (here - sunward) + 0.3 * toward_sun, 0, 1)
        colours[:] = mix(colours, mix(CLOUD_SHADE, CLOUD_LIGHT, light), 0.92 * cover * cover * (3 - 2 * cover))

    def _paint_ridge(
        self, colours: Colours, lon: Values, height: Values, ridge: Float32[np.ndarray, " steps"], near: float
    ) -> None:
        """Paint mountains over the existing colours; nearer ones are darker and less hazy."""
        top = _around(ridge, lon)
        share = inside(top - height, self._softness)
        rows = np.flatnonzero(share)
        lon, height, top, share = lon[rows], height[rows], top[rows], share[rows]
        slope = (_around(ridge, lon + 0.01) - _around(ridge, lon - 0.01)) / 0.02
        # mirror-symmetric behind the camera, where a seam would be visible otherwise
        rough = self._noise.fractal(np.abs(lon) * 22 + 60 * near, height * 30 - 12 * top, 5, 26 * self._softness)
        lit = 0.5 + 0.5 * np.tanh(2.5 * slope * np.sin(self._sun_lon - lon) + 5 * (rough - 0.5))
        rock = mix(FAR_ROCK, NEAR_ROCK, near) * (0.72 + 0.55 * lit[:, None])
        snow = np.clip((height - 0.14 + 0.16 * (rough - 0.5)) / 0.02, 0, 1) * (1 - near)
        rock = mix(rock, (0.97, 0.90, 0.92), snow * (0.45 + 0.5 * lit))
        haze = np.clip(1 - height / np.maximum(top, 1e-3), 0, 1) * 0.5 * (1 - near) + 0.10 * (1 - near)
        colours[rows] = mix(colours[rows], mix(rock, HAZE, haze), share)

    def _paint_town(self, colours: Colours, lon: Values, height: Values) -> None:
        for number, tower in enumerate(self._towers):
            away = (lon - tower.lon + np.pi) % (2 * np.pi) - np.pi
            share = inside(np.minimum(tower.half_width - np.abs(away), tower.height - height), self._softness)
            rows = np.flatnonzero(share)
            column = (away[rows] / tower.half_width + 1) / 2 * tower.columns
            floor = height[rows] / tower.height * tower.floors
            pane = np.minimum(0.28 - np.abs(column % 1 - 0.5), 0.24 - np.abs(floor % 1 - 0.5))
            sharp = self._softness * max(tower.columns / (2 * tower.half_width), tower.floors / tower.height)
            lit = self._lit[floor.astype(int) % 64, (column.astype(int) + 7 * number) % 64]
            wall = np.asarray(WALL, np.float32) * np.float32(tower.shade)
            wall = wall * np.where(away[rows] * np.sin(self._sun_lon - tower.lon) > 0, 1.15, 0.85)[:, None].astype(
                np.float32
            )
            front = mix(wall, mix(GLASS, WINDOW, lit), inside(pane, sharp))
            colours[rows] = mix(colours[rows], front, share[rows])

    def _mirrored(self, directions: Directions) -> Directions:
        """Direction of a ray after reflection by the rippled lake."""
        x, y, z = directions.T
        far = 1 / np.maximum(-z, 1e-3)
        px, py = x * far, y * far
        footprint = self._softness * far**2
        calm = 0.10 / (1 + 0.05 * far)
        tilt_x = calm * (self._noise.fractal(px * 0.9, py * 2.3, 4, 2.3 * footprint) - 0.5)
        tilt_y = calm * (self._noise.fractal(px * 2.3 + 31, py * 0.9 + 77, 4, 2.3 * footprint) - 0.5)
        up = np.maximum(np.abs(-z + 0.6 * (tilt_x + tilt_y)), 1e-3)
        mirrored = np.stack([x + tilt_x, y + tilt_y, up], axis=1)
        return mirrored / np.linalg.norm(mirrored, axis=1, keepdims=True)

    def _ground(self, directions: Directions, mirrored: Colours) -> Colours:
        x, y, z = directions.T
        glance = (
            1 + np.clip(z, -1, 0)
        ) ** 3  # a lake reflects at grazing angles, and shows its own colour at steep ones
        colours = mix(WATER, mirrored, 0.25 + 0.67 * glance)
        near = -z > 1 / np.hypot(1, 1.2 * PLATFORM)
        colours[near] = self._platform(x[near] / -z[near], y[near] / -z[near], colours[near])
        return colours

    def _platform(self, x: Values, y: Values, water: Colours) -> Colours:
        """Round, tiled platform below the camera, with lettering around its edge."""
        radius, turn = np.hypot(x, y), np.arctan2(y, x) / (2 * np.pi)
        soft = self._softness * (1 + radius**2)
        stone = np.broadcast_to(np.asarray(STONE, np.float32), (len(x), 3))
        grain = 1 + 0.5 * (self._noise.fractal(x * 9, y * 9, 5, 9 * soft) - 0.5)[:, None]
        for ring, (inner, outer) in enumerate(pairwise(TILE_RINGS), 1):
            tiles = 8 * ring
            column = turn * tiles + 0.5 * (ring % 2)
            away = np.minimum(radius - inner, outer - radius)
            joint = (0.5 - np.abs(column % 1 - 0.5)) / tiles * 2 * np.pi * radius
            tint = 0.5 + 0.5 * np.sin(12.9 * (np.floor(column) % tiles) + 78.2 * ring)
            tile = mix(STONE, DARK_STONE, 0.75 * tint) * grain
            face = inside(np.minimum(away, joint) - 0.02, soft)
            stone = mix(stone, mix(MORTAR, tile, face), inside(away, soft))
        stone = mix(stone, self._compass(radius, turn, soft), inside(TILE_RINGS[0] - radius, soft))
        stone = mix(stone, DARK_STONE, self._letters(radius, turn))
        stone = mix(stone, MORTAR, inside(radius - 2.2, soft))
        return mix(water, stone, inside(PLATFORM - radius, soft))

    def _compass(self, radius: Values, turn: Values, soft: Values) -> Colours:
        """Compass rose of eight points, half of each lit."""
        sector = turn * 8 + 0.5
        away = np.abs(sector % 1 - 0.5)
        reach = np.where(np.floor(sector).astype(int) % 2 == 0, 0.50, 0.34)
        star = inside(reach * (1 - 2 * away) / (1 + 2.2 * away) - radius, soft)
        half = inside((sector % 1 - 0.5) * radius, soft)
        rose = mix(MORTAR, (0.93, 0.80, 0.52), half)
        rim = inside(0.02 - np.abs(radius - 0.56), soft)
        return mix(mix(DARK_STONE, (0.93, 0.80, 0.52), rim), rose, star)

    def _letters(self, radius: Values, turn: Values) -> Values:
        """Ink coverage of the text around the edge, which is read from the middle."""
        rows, columns = self._text.shape
        row = (2.14 - radius) / 0.36 * rows
        column = turn % 1 * 3 * columns
        ink = np.zeros_like(radius)
        for dy, dx in ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)):
            r, c = np.floor(row + dy).astype(int), np.floor(column + dx).astype(int) % columns
            ink += 0.25 * (self._text[np.clip(r, 0, rows - 1), c] & (r >= 0) & (r < rows))
        return ink


def _direction(lon: float, lat: float) -> Float32[np.ndarray, " 3"]:
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], np.float32)


def _ridge(rng: np.random.Generator, layer: int, steps: int = 8192) -> Float32[np.ndarray, " steps"]:
    """Height (tangent of the elevation) of a layer at all longitudes; the first layer is the farthest and highest."""
    lon = np.arange(steps) / steps * 2 * np.pi
    profile = sum(
        np.abs(np.sin(frequency * (lon + rng.uniform(0, 7)) / 2)) / frequency**0.85
        for frequency in (2, 4, 7, 11, 18, 29, 47, 76, 123)
    )
    profile = (profile - np.min(profile)) / np.ptp(profile)
    height, floor = ((0.26, 0.05), (0.15, 0.03), (0.075, 0.012), (0.022, 0.004))[layer]
    return (floor + height * profile**1.4).astype(np.float32)


def _town(rng: np.random.Generator, middle: float) -> list[Tower]:
    towers = []
    for lon in middle + np.linspace(-0.5, 0.5, 13) + rng.uniform(-0.02, 0.02, 13):
        tall = np.exp(-(((lon - middle) / 0.3) ** 2))
        height = float(0.05 + 0.30 * tall * rng.uniform(0.3, 1.0))
        half = float(rng.uniform(0.020, 0.038))
        floors, columns = max(3, round(height / 0.022)), max(3, round(2 * half / 0.016))
        towers.append(Tower(float(lon), half, height, floors, columns, float(rng.uniform(0.6, 1.25))))
    return sorted(towers, key=lambda tower: -tower.height)


def _around(table: Float32[np.ndarray, " steps"], lon: Values) -> Values:
    """Value of a table at each longitude, linearly interpolated."""
    place = lon % (2 * np.pi) / (2 * np.pi) * len(table)
    step = place.astype(np.int32)
    low, high = table[step % len(table)], table[(step + 1) % len(table)]
    return low + (high - low) * (place - step).astype(np.float32)


def inside(distance: Values, softness: Values | float) -> Values:
    """Compute the coverage of pixels by the inside of an edge.

    Args:
        distance: Signed distance from the edge, positive inside, [pixels].
        softness: Width of the edge in the same unit.
    Returns:
        Coverage, 0 ... 1, [pixels].
    """
    return np.clip(distance / softness + 0.5, 0, 1).astype(np.float32)


def mix(below: Mixed | Colour, above: Mixed | Colour, share: Values | Bool[np.ndarray, " pixels"] | float) -> Mixed:
    """Blend `above` over `below`.

    Args:
        below: Colours, [pixels, 3] or one colour.
        above: Colours, [pixels, 3] or one colour.
        share: Opacity of `above`, 0 ... 1, [pixels] or one number.
    Returns:
        Blended colours, [pixels, 3].
    """
    weight = np.asarray(share, np.float32)[..., None]
    base = np.asarray(below, np.float32)
    return base + (np.asarray(above, np.float32) - base) * weight
