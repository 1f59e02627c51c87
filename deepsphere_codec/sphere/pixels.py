"""Resampling for planar models, whose nodes are the pixels of the ERP picture or of a smaller one."""

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
    """Identity resampler with the interface of `ErpResampler`: the nodes are the picture's own pixels.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def to_sphere(self, erp: Erp, iterations: int = 0) -> Signal:
        """Flatten a picture to its pixels.

        Args:
            erp: Picture, [height, width, channels].
            iterations: Ignored; no fit is needed.
        Returns:
            Pixels, [height * width, channels].
        """
        return erp.reshape(self.height * self.width, -1)

    def to_erp(self, x: Signal) -> Erp:
        """Reshape pixels, [height * width, channels], to the picture, [height, width, channels]."""
        return x.unflatten(0, (self.height, self.width))


class ErpScaler:
    """Resampler to a smaller ERP picture, with the interface, the cubic kernel and the fit of `ErpResampler`.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        rows: Rows of the smaller picture, at least 4.
        columns: Columns of the smaller picture, even and at least 4.
    """

    def __init__(self, height: int, width: int, rows: int, columns: int) -> None:
        self.height, self.width, self.rows, self.columns = height, width, rows, columns
        self._stencil = plane_stencil(height, width, rows, columns)
        self._fit: StencilFit | None = None

    def to_sphere(self, erp: Erp, iterations: int = 3) -> Signal:
        """Fit the smaller picture so that its interpolation matches the picture.

        Args:
            erp: Picture, [height, width, channels].
            iterations: Steps of the least-squares fit; 0 samples the picture at the smaller one's pixel centres.
        Returns:
            Pixels of the smaller picture, [rows * columns, channels].
        """
        positions = erp_positions(erp_directions(self.rows, self.columns).reshape(-1, 3), self.height, self.width)
        start = sample_erp(erp, *map(torch.from_numpy, positions))
        if iterations == 0:
            return start
        if self._fit is None:  # created at first use: a decoder never needs it
            weights = torch.from_numpy(erp_area_weights(self.height)).float().repeat_interleave(self.width)
            self._fit = StencilFit(self._stencil, weights, self.rows * self.columns)
        return self._fit.solve(erp.reshape(-1, erp.shape[-1]), start, iterations)

    def to_erp(self, x: Signal) -> Erp:
        """Interpolate the picture, [height, width, channels]; not clipped, bit-identical for any number of threads."""
        return self._stencil.apply(x).unflatten(0, (self.height, self.width))


def plane_stencil(height: int, width: int, rows: int, columns: int) -> Stencil:
    """Build the cubic stencil that interpolates a small ERP picture at the pixels of a larger one.

    Columns wrap; over a pole lies the same row, shifted by 180 degrees.

    Args:
        height: Rows of the larger picture.
        width: Columns of the larger picture.
        rows: Rows of the small picture.
        columns: Columns of the small picture.
    Returns:
        Stencil of height * width rows.
    """
    row, along_rows = _taps(height, rows)
    column, along_columns = _taps(width, columns)
    over_pole = (row < 0) | (row >= rows)
    row = np.where(row < 0, -1 - row, np.where(row >= rows, 2 * rows - 1 - row, row))
    shift = np.where(over_pole, columns // 2, 0)
    index = row[:, None, :, None] * columns + (column[None, :, None, :] + shift[:, None, :, None]) % columns
    weights = along_rows[:, None, :, None] * along_columns[None, :, None, :]
    shape = (height * width, TAPS)
    return Stencil(
        torch.from_numpy(index.reshape(shape).astype(np.int32)),
        torch.from_numpy(weights.reshape(shape).astype(np.float32)),
    )


def _taps(count: int, fewer: int) -> tuple[np.ndarray, np.ndarray]:
    """Four taps and their weights, [count, 4] each, for `count` positions along an axis of `fewer` samples."""
    position = (np.arange(count) + 0.5) * fewer / count - 0.5
    first = np.floor(position).astype(np.int64)
    return first[:, None] + np.arange(-1, 3), keys_weights(position - first)
