"""Smooth random functions on the plane, used to draw clouds, waves and rock."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "*shape"]

_CELLS = 256  # period of the lattice in cells, larger than the visible range of any scene


class Noise:
    """Value noise: random numbers on a lattice, smoothly interpolated in between.

    Args:
        rng: Source of the random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        lattice = rng.random((_CELLS, _CELLS), dtype=np.float32)
        self._corners = np.stack([np.roll(lattice, (-dy, -dx), (0, 1)) for dy in (0, 1) for dx in (0, 1)], axis=-1)

    def __call__(self, x: Values, y: Values) -> Values:
        """Evaluate the noise at (x, y), [...] each, on a lattice of unit cells; values 0 ... 1."""
        column, row = np.floor(x), np.floor(y)
        u, v = _smooth(x - column), _smooth(y - row)
        place = row.astype(np.int32) % _CELLS * _CELLS + column.astype(np.int32) % _CELLS
        a, b, c, d = np.moveaxis(self._corners.reshape(-1, 4)[place], -1, 0)
        low = a + (b - a) * u
        return low + (c + (d - c) * u - low) * v

    def fractal(
        self, x: Values, y: Values, octaves: int, footprint: Float[np.ndarray, "*shape"] | float = 0.0
    ) -> Values:
        """Sum octaves of noise, each of twice the frequency and half the amplitude of the previous one.

        Args:
            x: First coordinate, [...], in cells of the first octave.
            y: Second coordinate, [...].
            octaves: Number of octaves.
            footprint: Size of a pixel in units of x and y; octaves too fine for it fade out to prevent flicker.
        Returns:
            Values of about 0 ... 1, [...].
        """
        total = np.full_like(x, 0.5)
        for octave in range(octaves):
            scale = 2.03**octave
            # rotate each octave by another angle, so that the lattice directions do not show
            along, across = np.float32(scale * np.cos(0.6 + octave)), np.float32(scale * np.sin(0.6 + octave))
            noise = self(x * along - y * across + 17.3 * octave, x * across + y * along + 5.1 * octave)
            seen = np.clip(1.5 - 3.0 * scale * footprint, 0, 1).astype(np.float32)
            total += seen * np.float32(0.5**octave) * (noise - 0.5)
        return total


def _smooth(t: Values) -> Values:
    return t * t * (3 - 2 * t)
