"""Smooth random numbers over the plane, the stuff of clouds, waves and rock."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "*shape"]

_CELLS = 256  # the lattice repeats after this many cells: farther than any scene looks


class Noise:
    """Value noise: random numbers on a lattice, smoothly interpolated between."""

    def __init__(self, rng: np.random.Generator) -> None:
        lattice = rng.random((_CELLS, _CELLS), dtype=np.float32)
        self._corners = np.stack([np.roll(lattice, (-dy, -dx), (0, 1)) for dy in (0, 1) for dx in (0, 1)], axis=-1)

    def __call__(self, x: Values, y: Values) -> Values:
        """Values 0 ... 1 at (x, y), one cell being a unit square."""
        column, row = np.floor(x), np.floor(y)
        u, v = _smooth(x - column), _smooth(y - row)
        place = row.astype(np.int32) % _CELLS * _CELLS + column.astype(np.int32) % _CELLS
        a, b, c, d = np.moveaxis(self._corners.reshape(-1, 4)[place], -1, 0)
        low = a + (b - a) * u
        return low + (c + (d - c) * u - low) * v

    def fractal(
        self, x: Values, y: Values, octaves: int, footprint: Float[np.ndarray, "*shape"] | float = 0.0
    ) -> Values:
        """Octaves of noise, each twice as fine and half as strong as the one before; values about 0 ... 1.

        Args:
            footprint: Size of a pixel in units of x and y: an octave too fine for it fades away instead of flickering.
        """
        total = np.full_like(x, 0.5)
        for octave in range(octaves):
            scale = 2.03**octave
            # each octave turned by another angle, so that no direction of the lattice shows
            along, across = np.float32(scale * np.cos(0.6 + octave)), np.float32(scale * np.sin(0.6 + octave))
            noise = self(x * along - y * across + 17.3 * octave, x * across + y * along + 5.1 * octave)
            seen = np.clip(1.5 - 3.0 * scale * footprint, 0, 1).astype(np.float32)
            total += seen * np.float32(0.5**octave) * (noise - 0.5)
        return total


def _smooth(t: Values) -> Values:
    return t * t * (3 - 2 * t)
