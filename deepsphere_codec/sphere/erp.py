"""The equirectangular picture (ERP): directions and solid angles of its pixels, and bicubic sampling.

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
    """Compute the directions of an ERP picture's pixel centres.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        Unit vectors, [height, width, 3], float64.
    """
    lat = np.pi / 2 - (np.arange(height)[:, None] + 0.5) / height * np.pi
    lon = (np.arange(width) + 0.5) / width * (2 * np.pi) - np.pi
    rows = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.broadcast_to(np.sin(lat), (height, width)))
    return np.stack(rows, axis=-1)


def erp_area_weights(height: int) -> Float64[np.ndarray, " height"]:
    """Cosine of each row's latitude: the solid angle of its pixels up to a common factor, [height], float64."""
    return np.cos(np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi)


def erp_positions(dirs: ArrayLike, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Project directions to continuous positions in an ERP picture.

    Args:
        dirs: Directions, [..., 3]; need not be of unit length.
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        (row, column), [...] each, in pixels; whole numbers are pixel centres. Rows lie in -0.5 .. height - 0.5, columns
        in -0.5 .. width - 0.5.
    """
    vec = np.asarray(dirs, np.float64)
    lat = np.arctan2(vec[..., 2], np.hypot(vec[..., 0], vec[..., 1]))
    lon = np.arctan2(vec[..., 1], vec[..., 0])
    return (np.pi / 2 - lat) / np.pi * height - 0.5, (lon + np.pi) / (2 * np.pi) * width - 0.5


def sample_erp(
    erp: Float32[Tensor, "height width channels"], rows: Float64[Tensor, " n"], columns: Float64[Tensor, " n"]
) -> Float32[Tensor, "n channels"]:
    """Sample a picture at continuous positions with a bicubic kernel, which wraps in longitude and over the poles.

    Args:
        erp: Picture, [H, W, C], W even.
        rows: Row positions in pixels, [n], as returned by `erp_positions`, on the picture's device.
        columns: Column positions in pixels, [n], on the picture's device.
    Returns:
        Values at the positions, [n, C].
    """
    height, width, _ = erp.shape
    bordered = _with_border(erp)
    grid_x = (columns + _BORDER + 0.5) * (2.0 / (width + 2 * _BORDER)) - 1.0
    grid_y = (rows + _BORDER + 0.5) * (2.0 / (height + 2 * _BORDER)) - 1.0
    grid = torch.stack([grid_x, grid_y], dim=-1).to(erp.dtype)[None, :, None]
    image = bordered.permute(2, 0, 1)[None]
    return torch.nn.functional.grid_sample(image, grid, mode="bicubic", align_corners=False)[0, :, :, 0].T.contiguous()


def _with_border(erp: Tensor) -> Tensor:
    """Pad a picture by three pixels on each side; over a pole lies the same row, shifted by 180 degrees."""
    opposite = erp.roll(erp.shape[1] // 2, dims=1)
    tall = torch.cat([opposite[:_BORDER].flip(0), erp, opposite[-_BORDER:].flip(0)], dim=0)
    return torch.cat([tall[:, -_BORDER:], tall, tall[:, :_BORDER]], dim=1)
