"""Gaussian blur on the sphere: heat that spreads from node to node."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from deepsphere_codec.layers.padding import FacePadding, SphereGrid
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.grid import NEIGHBOR_STEPS, face_xy_to_dir

_STEPS = (0.12, 0.165, 0.28, 0.28, 0.28)
BLUR_SIGMA = math.sqrt(2 * sum(_STEPS))
"""Of one `Blur`: 1.5 nodes, as in scale-space flow. A node is sqrt(4 pi / npix) radians wide."""
_PIECE = 1 << 16  # nodes whose pictures stay in the cache


class Blur(nn.Module):
    """A Gaussian of 1.5 nodes, by five steps `x_i ← x_i + t Σ_j w_ij (x_j - x_i)` of heat over `heat_weights`.

    The steps' lengths t differ, so that no more than 7 % of any frequency is left that a Gaussian would not leave
    (after five equal ones, checkerboards in the polar caps stay). What leaves a node arrives at another, hence the
    mean stays; constants stay to the last bit. Nothing passes the border of a patch.

    Args:
        grid: The sphere, or a patch of it.
    """

    weights: Tensor

    def __init__(self, grid: SphereGrid) -> None:
        super().__init__()
        self.padding = FacePadding(grid, 1)
        self.register_buffer("weights", torch.empty(8, self.padding.faces, grid.side, grid.side), persistent=False)
        self.place(grid)

    def place(self, grid: SphereGrid) -> None:
        """Move to another patch of the same size (or set the whole sphere once)."""
        self.grid = grid
        self.weights.copy_(torch.from_numpy(heat_weights(grid).T.copy()).view(self.weights.shape))

    def forward(self, x: Float[Tensor, "batch npix c"]) -> Float[Tensor, "batch npix c"]:
        batch, npix, channels = x.shape
        planes = x.transpose(1, 2).reshape(batch * channels, npix, 1)
        for step in _STEPS:
            planes = self._spread(planes, step)
        return planes.view(batch, channels, npix).transpose(1, 2)

    def _spread(self, planes: Float[Tensor, "planes npix 1"], step: float) -> Float[Tensor, "planes npix 1"]:
        faces, side = self.weights.shape[1:3]
        padded = self.padding(planes).view(-1, faces, side + 2, side + 2)
        size = max(1, _PIECE // side**2)
        pieces = zip(padded.split(size, 1), self.weights.split(size, 1), strict=True)
        return torch.cat([_spread(*piece, step) for piece in pieces], 1).view(planes.shape)


def _spread(
    padded: Float[Tensor, "planes faces side2 side2"], weights: Float[Tensor, "8 faces side side"], step: float
) -> Float[Tensor, "planes faces side side"]:
    side = weights.shape[-1]
    here = padded[..., 1:-1, 1:-1]
    flow = torch.zeros_like(here)
    for (dx, dy), weight in zip(NEIGHBOR_STEPS, weights.to(padded.dtype), strict=True):
        there = padded[..., 1 + dy : 1 + dy + side, 1 + dx : 1 + dx + side]
        flow += (there - here).mul_(weight)
    return here + flow.mul_(step)


def heat_weights(grid: SphereGrid) -> Float64[np.ndarray, "npix 8"]:
    """Weights of the eight neighbours with which the graph's Laplacian is the sphere's, times the area of a node.

    HEALPix nodes have equal areas, so in a face's coordinates the Laplacian is ∂_i (D_ij ∂_j) with D the inverse of
    the metric. In units of nodes, weights a to the four sides and d₊, d₋ to the four corners make D_xx = a_x + d₊ + d₋,
    D_yy = a_y + d₊ + d₋, D_xy = d₊ - d₋; we take those that leave the largest eigenvalue small, and none is negative.
    An edge has the mean of what its two ends say, so that the matrix is symmetric over the faces' borders too.

    Returns:
        In the order of NEIGHBOR_STEPS, zero where there is no neighbour.
    """
    neighbors, weights = _neighbors(grid), _own_weights(grid)
    there = np.where(neighbors < 0, np.arange(grid.npix)[:, None], neighbors)
    return np.where(neighbors < 0, 0.0, (weights + _seen_from_there(weights, there)) / 2)


def _own_weights(grid: SphereGrid) -> Float64[np.ndarray, "npix 8"]:
    xx, xy, yy = _inverse_metric(grid)
    corners = np.maximum(np.abs(xy), np.minimum(xx, yy) / 2)
    by_step = {
        (1, 0): np.maximum(xx - corners, 0),
        (0, 1): np.maximum(yy - corners, 0),
        (1, 1): (corners + xy) / 2,
        (1, -1): (corners - xy) / 2,
    }
    by_step |= {(-dx, -dy): weight for (dx, dy), weight in by_step.items()}
    return np.stack([by_step[step] for step in NEIGHBOR_STEPS], 1)


def _inverse_metric(grid: SphereGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D_xx, D_xy and D_yy in nodes, [npix] each, by central differences; their determinant is one."""
    face, x, y = grid.face_xy
    e_x = face_xy_to_dir(face, x + 0.5, y, grid.nside) - face_xy_to_dir(face, x - 0.5, y, grid.nside)
    e_y = face_xy_to_dir(face, x, y + 0.5, grid.nside) - face_xy_to_dir(face, x, y - 0.5, grid.nside)
    xx, xy, yy = ((a * b).sum(1) for a, b in ((e_x, e_x), (e_x, e_y), (e_y, e_y)))
    area = np.sqrt(xx * yy - xy * xy)
    return yy / area, -xy / area, xx / area


def _neighbors(grid: SphereGrid) -> Int64[np.ndarray, "npix 8"]:
    """-1 where there is none."""
    side = grid.side
    if isinstance(grid, HealpixGrid):
        padded = grid.halo(1)
    else:
        padded = np.pad(np.arange(grid.npix).reshape(1, side, side), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    shifted = [padded[:, 1 + dy : 1 + dy + side, 1 + dx : 1 + dx + side] for dx, dy in NEIGHBOR_STEPS]
    return np.stack(shifted, -1).reshape(-1, 8)


def _seen_from_there(
    weights: Float64[np.ndarray, "npix 8"], there: Int64[np.ndarray, "npix 8"]
) -> Float64[np.ndarray, "npix 8"]:
    """The weight that the other end of each edge gives it; within a face it lies in the opposite direction."""
    itself = np.arange(len(there))[:, None]
    slot = np.broadcast_to((np.arange(8) + 4) % 8, there.shape).copy()
    rows, columns = np.nonzero(there[there, slot] != itself)
    slot[rows, columns] = (there[there[rows, columns]] == rows[:, None]).argmax(1)
    return weights[there, slot]
