"""The equirectangular picture (ERP): where its pixels look, how much each counts, and its values in between.

Pixel (i, j) of an H x W picture has its centre at lat = pi/2 - (i + 0.5) / H pi and lon = (j + 0.5) / W 2 pi - pi; its
direction is (cos lat cos lon, cos lat sin lon, sin lat).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Float64
from numpy.typing import ArrayLike
from torch import Tensor

_BORDER = 3


def erp_directions(height: int, width: int) -> Float64[np.ndarray, "height width 3"]:
    """Unit vectors of the pixel centres, [height, width, 3], float64."""
    lat = np.pi / 2 - (np.arange(height)[:, None] + 0.5) / height * np.pi
    lon = (np.arange(width) + 0.5) / width * (2 * np.pi) - np.pi
    rows = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.broadcast_to(np.sin(lat), (height, width)))
    return np.stack(rows, axis=-1)


def erp_area_weights(height: int) -> Float64[np.ndarray, " height"]:
    """cos(latitude) of each row: the solid angle of its pixels up to a factor, [height]."""
    return np.cos(np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi)


def erp_positions(dirs: ArrayLike, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Continuous (row, column) of directions, [...] each; whole numbers are pixel centres.

    Rows lie in -0.5 .. height - 0.5, columns in -0.5 .. width - 0.5.
    """
    vec = np.asarray(dirs, np.float64)
    lat = np.arctan2(vec[..., 2], np.hypot(vec[..., 0], vec[..., 1]))
    lon = np.arctan2(vec[..., 1], vec[..., 0])
    return (np.pi / 2 - lat) / np.pi * height - 0.5, (lon + np.pi) / (2 * np.pi) * width - 0.5


def sample_erp(
    erp: Float32[Tensor, "height width channels"], rows: Float64[Tensor, " n"], columns: Float64[Tensor, " n"]
) -> Float32[Tensor, "n channels"]:
    """Bicubic values of a picture at continuous positions, across +-180 degrees of longitude and over the poles.

    Args:
        erp: Picture, [H, W, C], W even.
        rows, columns: Positions as `erp_positions` gives them, on the device of the picture.
    Returns:
        [n, C].
    """
    height, width, _ = erp.shape
    bordered = _with_border(erp)
    grid_x = (columns + _BORDER + 0.5) * (2.0 / (width + 2 * _BORDER)) - 1.0
    grid_y = (rows + _BORDER + 0.5) * (2.0 / (height + 2 * _BORDER)) - 1.0
    grid = torch.stack([grid_x, grid_y], dim=-1).to(erp.dtype)[None, :, None]
    image = bordered.permute(2, 0, 1)[None]
    return torch.nn.functional.grid_sample(image, grid, mode="bicubic", align_corners=False)[0, :, :, 0].T.contiguous()


def _with_border(erp: Tensor) -> Tensor:
    """Three more pixels on each side: over a pole lies the same row, half a turn further."""
    opposite = erp.roll(erp.shape[1] // 2, dims=1)
    tall = torch.cat([opposite[:_BORDER].flip(0), erp, opposite[-_BORDER:].flip(0)], dim=0)
    return torch.cat([tall[:, -_BORDER:], tall, tall[:, :_BORDER]], dim=1)
