"""Latitude of an ERP picture's rows, as an optional input of the planar networks."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.padding import PlaneGrid
from deepsphere_codec.sphere import ErpGrid

TOP = 30
"""Largest level of latitude: levels are cos(latitude) times this, rounded to integers.

It is even, so that no product lies halfway between two integers, where machines might round differently: the only
rational cosines of the rows are 1/2 and 1."""


class Latitude(nn.Module):
    """Latitude of the nodes of a plane at one resolution.

    Args:
        grid: ERP picture, or a patch of one.
    Attributes:
        level: Levels of cos(latitude) for the entropy parameters, integers 0 … TOP, [npix, 1], float64.
        area: Area of the pixels relative to the mean of the whole picture, [npix, 1].
        log_cos: log2(cos(latitude)) of each row, [rows].
    """

    level: Tensor
    area: Tensor
    log_cos: Tensor

    def __init__(self, grid: PlaneGrid) -> None:
        super().__init__()
        _, rows, self.columns = grid.shape
        self.register_buffer("level", torch.empty(grid.npix, 1, dtype=torch.float64), persistent=False)
        self.register_buffer("area", torch.empty(grid.npix, 1), persistent=False)
        self.register_buffer("log_cos", torch.empty(rows), persistent=False)
        self.place(grid)

    def place(self, grid: PlaneGrid) -> None:
        """Move to another patch of the same size (or set the whole picture once)."""
        mean = ErpGrid(grid.height, grid.width).cos_lat.mean()
        self.level.copy_(self._at_nodes(torch.from_numpy(latitude_levels(grid.cos_lat))))
        self.area.copy_(self._at_nodes(torch.from_numpy(grid.cos_lat / mean)))
        self.log_cos.copy_(torch.from_numpy(np.log2(grid.cos_lat)))

    def tilt(self, slope: Float[Tensor, " 1"]) -> Float[Tensor, "npix 1"]:
        """Compute cos(latitude) to the power of half the slope, [npix, 1], from the slope, [1].

        With a slope of 1 this is the change of a gain that follows λ ~ cos(latitude), since a gain grows by √2 when λ
        doubles.
        """
        return self._at_nodes(torch.exp2(slope * self.log_cos / 2))

    def _at_nodes(self, rows: Float[Tensor, " rows"]) -> Float[Tensor, "npix 1"]:
        return rows[:, None].expand(-1, self.columns).reshape(-1, 1)


def latitude_levels(cos_lat: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Round TOP * cos(latitude) to integers, [rows], which are the same on every machine."""
    return np.rint(TOP * cos_lat)
