"""Interpolation of a node signal at arbitrary directions: cubic on the faces, sixteen nodes per direction.

A direction falls at (x, y) of a face. The 4 x 4 nodes around it, across face borders if necessary, are weighted with
Keys' cubic kernel in x and in y. The kernel's free parameter is -3/4: on eleven film frames (1024 x 512, nside 256)
it gives 0.45 dB more than -1/2 after three iterations of the fit and 0.9 dB more without a fit, and the fitted node
values are smoother (neighbour differences +4 % over direct sampling against +10 %), so cheaper to code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from numpy.typing import ArrayLike
from torch import Tensor

from deepsphere_codec.sphere.grid import HealpixGrid, dir_to_face_xy

TAPS = 16
KEYS_A = -0.75
MIN_NSIDE = 2
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Stencil:
    """Sparse interpolation matrix with sixteen entries per row.

    Attributes:
        index: Nodes that each row reads, [rows, 16].
        weights: Their weights, [rows, 16]; each row sums to 1.
    """

    index: Int32[Tensor, "rows 16"]
    weights: Float32[Tensor, "rows 16"]

    def apply(self, x: Float[Tensor, "npix channels"]) -> Float[Tensor, "rows channels"]:
        """Compute the weighted sums of node values, [rows, channels], bit-identical for any number of threads."""
        return torch.nn.functional.embedding_bag(self.index, x, per_sample_weights=self.weights, mode="sum")

    def to(self, device: torch.device) -> Stencil:
        """Copy the stencil to another device."""
        return Stencil(self.index.to(device), self.weights.to(device))


def keys_weights(fraction: np.ndarray, a: float = KEYS_A) -> np.ndarray:
    """Evaluate Keys' cubic kernel at the four taps around a position.

    Args:
        fraction: Positions between taps 0 and 1, [...], in [0, 1).
        a: Free parameter of the kernel.
    Returns:
        Weights of the taps at -1, 0, 1, 2, [..., 4]; they sum to 1.
    Source: Keys, IEEE TASSP 29(6), 1981.
    """
    f, g = fraction, 1.0 - fraction
    outer = a * f * g
    tap0 = ((a + 2.0) * f - (a + 3.0)) * f * f + 1.0
    return np.stack([outer * g, tap0, 1.0 - tap0 - outer, outer * f], axis=-1)


def stencil(dirs: ArrayLike, nside: int) -> Stencil:
    """Build the cubic stencil that interpolates a node signal at given directions.

    Args:
        dirs: Directions, [..., 3], array or CPU tensor, float64; need not be of unit length.
        nside: Resolution of the grid, >= 2.
    Returns:
        Stencil with one row per direction in C order, on the CPU. Where a tap would lie beyond a three-face corner,
        the two nodes nearest to the hole in the tap's own row and column take half of its weight each.
    Raises:
        ValueError: nside below 2; the kernel needs two nodes beyond a face's edge.
    """
    if nside < MIN_NSIDE:
        raise ValueError(f"nside is {nside}: cubic interpolation reaches two nodes beyond a face, so it must be >= 2")
    flat = np.asarray(dirs, np.float64).reshape(-1, 3)
    padded = HealpixGrid.cached(nside).halo(2).astype(np.int32)
    index = np.empty((len(flat), TAPS), np.int32)
    weights = np.empty((len(flat), TAPS), np.float32)
    for start in range(0, len(flat), _CHUNK):
        part = slice(start, start + _CHUNK)
        index[part], weights[part] = _rows(flat[part], nside, padded)
    return Stencil(torch.from_numpy(index), torch.from_numpy(weights))


def _rows(dirs: np.ndarray, nside: int, padded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    face, x, y = dir_to_face_xy(dirs, nside)
    # Rounding may put a position exactly on a face's far edge; the first tap is clipped so that four taps fit.
    first_x = np.clip(np.floor(x), -1, nside - 1).astype(np.int64) - 1
    first_y = np.clip(np.floor(y), -1, nside - 1).astype(np.int64) - 1
    along_x, along_y = keys_weights(x - first_x - 1), keys_weights(y - first_y - 1)
    side = nside + 4
    corner = (face * side + first_y + 2) * side + first_x + 2
    steps = (np.arange(4)[:, None] * side + np.arange(4)).reshape(-1)
    index = padded.reshape(-1)[corner[:, None] + steps]
    weights = (along_y[:, :, None] * along_x[:, None, :]).reshape(-1, TAPS)
    holed = np.flatnonzero((index < 0).any(axis=1))
    if holed.size:
        weights[holed] = _move_from_holes(index[holed], weights[holed], first_x[holed], first_y[holed], nside)
    return np.maximum(index, 0), weights


def _move_from_holes(index: np.ndarray, weights: np.ndarray, x0: np.ndarray, y0: np.ndarray, nside: int) -> np.ndarray:
    moved = weights.reshape(-1, 4, 4).copy()
    for row, column in np.ndindex(4, 4):
        hole = np.flatnonzero(index[:, 4 * row + column] < 0)
        inside_x = np.clip(x0[hole] + column, 0, nside - 1) - x0[hole]
        inside_y = np.clip(y0[hole] + row, 0, nside - 1) - y0[hole]
        half = 0.5 * weights[hole, 4 * row + column]
        moved[hole, row, inside_x] += half
        moved[hole, inside_y, column] += half
        moved[hole, row, column] = 0.0
    return moved.reshape(-1, TAPS)
