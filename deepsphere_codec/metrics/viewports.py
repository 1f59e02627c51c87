"""Metrics of a decoded ERP picture in the flat views (viewports) that a viewer sees.

The conventions are those of `metrics.psnr`. Views are interpolated bilinearly, as in players and 360Lib, and are not
rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy.sparse import csr_array

from deepsphere_codec.metrics.psnr import (
    Pictures,
    _array,
    _check_erp,
    _check_pair,
    _decibels,
    _difference,
    capped,
)
from deepsphere_codec.metrics.sphere import erp_weights, resampled_dtype
from deepsphere_codec.metrics.structure import ssim
from deepsphere_codec.sphere import viewport_directions
from deepsphere_codec.sphere.erp import erp_positions


class Viewport(NamedTuple):
    """A flat view (gnomonic); see `viewport_directions`.

    Attributes:
        yaw: Longitude of the centre, degrees; grows to the right.
        pitch: Latitude of the centre, degrees; grows upwards.
        fov: Horizontal field of view, degrees.
        size: (height, width) in pixels, which are square.
    """

    yaw: float
    pitch: float
    fov: float
    size: tuple[int, int]


class ViewDirection(NamedTuple):
    """Viewing direction and field of view: a `Viewport` without a size.

    Attributes:
        yaw: Longitude of the centre, degrees.
        pitch: Latitude of the centre, degrees.
        fov: Field of view, degrees.
    """

    yaw: float
    pitch: float
    fov: float

    def viewport(self, width: int) -> Viewport:
        """Return the square view into an ERP of this width, at the ERP's resolution per angle."""
        side = max(round(width * self.fov / 360), 1)
        return Viewport(*self, (side, side))


CUBE = (
    *(ViewDirection(yaw, 0.0, 90.0) for yaw in (0.0, 90.0, 180.0, -90.0)),
    ViewDirection(0.0, 90.0, 90.0),
    ViewDirection(0.0, -90.0, 90.0),
)
"""The six fixed looks: front, right, back, left, up and down, 90 x 90 degrees each, together the whole sphere."""


class ViewportScores(NamedTuple):
    """A metric of several views of the same pictures.

    Attributes:
        per_viewport: Values of each view, [viewports, ...].
        mean: Mean over the views, [...].
    """

    per_viewport: Float[np.ndarray, "viewports ..."]
    mean: Float[np.ndarray, "*batch"]


def cube_viewports(width: int) -> tuple[Viewport, ...]:
    """Return the views of `CUBE` into an ERP of this width; the sides of a view are a quarter of the width."""
    return tuple(look.viewport(width) for look in CUBE)


def viewport_psnr(
    x: Pictures, x_hat: Pictures, viewports: Sequence[Viewport] | None = None, *, peak: float | None = None
) -> ViewportScores:
    """Compute the PSNR of flat views.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        viewports: The views; None for `cube_viewports`.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels of each view, [viewports, ...], inf if it is equal; and their mean, [...], for which each view is
        limited to MAX_DB.
    Raises:
        ValueError: shapes differ, W != 2 H, there is no view, or a view is not valid.
    Source: Yu, Lakshman, Girod, ISMAR 2015.
    """
    difference, peak = _difference(x, x_hat, peak)
    views = [render_viewport(difference, each) for each in _viewports(difference.shape, viewports)]
    scores = np.stack([_decibels(np.square(view).mean(axis=(-2, -1), dtype=np.float64), peak) for view in views])
    return ViewportScores(scores, capped(scores).mean(axis=0))


def viewport_ssim(
    x: Pictures, x_hat: Pictures, viewports: Sequence[Viewport] | None = None, *, peak: float | None = None
) -> ViewportScores:
    """Compute the SSIM of flat views; see `ssim`.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        viewports: The views; None for `cube_viewports`.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Similarity of each view, [viewports, ...], 1 if equal, NaN if a side is below 11 pixels; and their mean, [...].
    Raises:
        ValueError: shapes differ, W != 2 H, there is no view, or a view is not valid.
    """
    peak = _check_pair(x, x_hat, peak)
    views = _viewports(np.shape(x), viewports)
    scores = np.stack([ssim(render_viewport(x, each), render_viewport(x_hat, each), peak=peak) for each in views])
    return ViewportScores(scores, scores.mean(axis=0))


def render_viewport(x: Pictures, viewport: Viewport) -> Float[np.ndarray, "*batch height width"]:
    """Render a view of ERP pictures with bilinear interpolation, which wraps in longitude and over the poles.

    Args:
        x: Pictures, [..., H, W].
        viewport: The view.
    Returns:
        View, [..., height, width]; float32 for integers, else float64.
    Raises:
        ValueError: W != 2 H, a field of view outside (0, 180), or an empty size.
    """
    pictures = _array(x)
    height, width = _check_erp(pictures.shape)
    weights = viewport_weights(viewport, height, width)
    flat = resampled_dtype(pictures).reshape(-1, height * width)
    return np.reshape([weights @ each for each in flat], (*pictures.shape[:-2], *viewport.size))


@lru_cache(maxsize=64)
def viewport_weights(viewport: Viewport, height: int, width: int) -> csr_array:
    """Build the matrix that renders a view of an ERP picture.

    Args:
        viewport: The view.
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        Sparse matrix, [pixels of the view, height * width].
    """
    directions = viewport_directions(viewport.yaw, viewport.pitch, 0.0, viewport.fov, viewport.size)
    rows, columns = erp_positions(directions.reshape(-1, 3), height, width)
    return erp_weights(rows, columns, height, width, bilinear)


def bilinear(fraction: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
    """Compute the weights, [n, 2], of the two taps around a position at `fraction` between them."""
    return np.stack([1 - fraction, fraction], axis=-1)


def _viewports(shape: tuple[int, ...], viewports: Sequence[Viewport] | None) -> Sequence[Viewport]:
    _, width = _check_erp(shape)
    if viewports is None:
        return cube_viewports(width)
    if not viewports:
        raise ValueError("no viewports to measure in; leave them out for the six of the cube")
    return viewports
