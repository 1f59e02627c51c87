"""A planar model's way from the picture to its nodes: pixels, the picture's own or those of a smaller one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from deepsphere_codec.sphere.erp import erp_area_weights, erp_directions, erp_positions, sample_erp
from deepsphere_codec.sphere.fit import StencilFit
from deepsphere_codec.sphere.interpolation import TAPS, Stencil, keys_weights

Erp = Float32[Tensor, "height width channels"]
Signal = Float32[Tensor, "npix channels"]


class ErpPixels:
    """Has the two ways of `ErpResampler`, and changes nothing on either.

    Args:
        height, width: Size of the picture.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def to_sphere(self, erp: Erp, iterations: int = 0) -> Signal:
        """The pixels, [height * width, channels]; there is nothing to be fitted in any number of iterations."""
        return erp.reshape(self.height * self.width, -1)

    def to_erp(self, x: Signal) -> Erp:
        """The picture, [height, width, channels]."""
        return x.unflatten(0, (self.height, self.width))


class ErpScaler:
    """Has the two ways of `ErpResampler`, to a smaller ERP picture: the same cubic kernel, the same fit.

    Args:
        height, width: Size of the picture.
        rows, columns: Size of the smaller one; columns even, both at least 4.
    """

    def __init__(self, height: int, width: int, rows: int, columns: int) -> None:
        self.height, self.width, self.rows, self.columns = height, width, rows, columns
        self._stencil = plane_stencil(height, width, rows, columns)
        self._fit: StencilFit | None = None

    def to_sphere(self, erp: Erp, iterations: int = 3) -> Signal:
        """Pixels of the smaller picture whose interpolation matches the picture, [rows * columns, channels]."""
        places = erp_positions(erp_directions(self.rows, self.columns).reshape(-1, 3), self.height, self.width)
        start = sample_erp(erp, *map(torch.from_numpy, places))
        if iterations == 0:
            return start
        if self._fit is None:  # a decoder never is in need of it
            weights = torch.from_numpy(erp_area_weights(self.height)).float().repeat_interleave(self.width)
            self._fit = StencilFit(self._stencil, weights, self.rows * self.columns)
        return self._fit.solve(erp.reshape(-1, erp.shape[-1]), start, iterations)

    def to_erp(self, x: Signal) -> Erp:
        """The picture, [height, width, channels]; not clipped. The same bits for any number of threads."""
        return self._stencil.apply(x).unflatten(0, (self.height, self.width))


def plane_stencil(height: int, width: int, rows: int, columns: int) -> Stencil:
    """The cubic stencil that reads a small ERP picture at the pixels of a larger one.

    Beyond a pole lies the same row, half a turn further; the columns wrap.
    """
    row, along_rows = _taps(height, rows)
    column, along_columns = _taps(width, columns)
    beyond = (row < 0) | (row >= rows)
    row = np.where(row < 0, -1 - row, np.where(row >= rows, 2 * rows - 1 - row, row))
    shift = np.where(beyond, columns // 2, 0)
    index = row[:, None, :, None] * columns + (column[None, :, None, :] + shift[:, None, :, None]) % columns
    weights = along_rows[:, None, :, None] * along_columns[None, :, None, :]
    shape = (height * width, TAPS)
    return Stencil(
        torch.from_numpy(index.reshape(shape).astype(np.int32)),
        torch.from_numpy(weights.reshape(shape).astype(np.float32)),
    )


def _taps(count: int, fewer: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` places along an axis of `fewer` the four taps around it, and their weights."""
    place = (np.arange(count) + 0.5) * fewer / count - 0.5
    first = np.floor(place).astype(np.int64)
    return first[:, None] + np.arange(-1, 3), keys_weights(place - first)
