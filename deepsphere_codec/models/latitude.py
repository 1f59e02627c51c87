"""What a planar network may be told of the sphere: the latitude of its rows."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsphere_codec.layers.padding import PlaneGrid
from deepsphere_codec.sphere import ErpGrid

TOP = 30
"""Of the whole numbers that tell the cosine of latitude: 0 near the poles, this at the equator. It is even: of all
cosines only 1/2 and 1 are rational, so none times this is a half, which machines might round differently."""


class Latitude(nn.Module):
    """Of the nodes of one resolution; follows a patch to where it is placed.

    Args:
        grid: An ERP picture, or a patch of one.
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
        """cos(latitude) to the power of half the slope: as much as a gain grows with λ, which is doubled for a √2."""
        return self._at_nodes(torch.exp2(slope * self.log_cos / 2))

    def _at_nodes(self, rows: Float[Tensor, " rows"]) -> Float[Tensor, "npix 1"]:
        return rows[:, None].expand(-1, self.columns).reshape(-1, 1)


def latitude_levels(cos_lat: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Whole numbers 0 … TOP, the same on every machine."""
    return np.rint(TOP * cos_lat)
