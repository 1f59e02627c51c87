"""How far a decoded ERP picture is from its source where a viewer looks: in flat views.

The conventions are those of `metrics`. Views are read bilinearly, as players and 360Lib do, and are not rounded.
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
    """A flat view (gnomonic), as `viewport_directions` takes it."""

    yaw: float
    """Longitude of the middle, degrees; grows to the right."""
    pitch: float
    """Latitude of the middle, degrees; grows upwards."""
    fov: float
    """Horizontal field of view, degrees."""
    size: tuple[int, int]
    """(height, width) in pixels, which are square."""


class ViewDirection(NamedTuple):
    """Where a viewer looks, in degrees: a `Viewport` without its pixels."""

    yaw: float
    pitch: float
    fov: float

    def viewport(self, width: int) -> Viewport:
        """The square view into an ERP of this width, with as many pixels as the ERP has for such an angle."""
        side = max(round(width * self.fov / 360), 1)
        return Viewport(*self, (side, side))


CUBE = (
    *(ViewDirection(yaw, 0.0, 90.0) for yaw in (0.0, 90.0, 180.0, -90.0)),
    ViewDirection(0.0, 90.0, 90.0),
    ViewDirection(0.0, -90.0, 90.0),
)
"""The six fixed looks: front, right, back, left, up and down, 90 x 90 degrees each, together the whole sphere."""


class ViewportScores(NamedTuple):
    """A metric of several views of the same pictures."""

    per_viewport: Float[np.ndarray, "viewports ..."]
    mean: Float[np.ndarray, "*batch"]


def cube_viewports(width: int) -> tuple[Viewport, ...]:
    """The views of `CUBE` into an ERP of this width, in pixels; a view has a quarter of it on either side."""
    return tuple(look.viewport(width) for look in CUBE)


def viewport_psnr(
    x: Pictures, x_hat: Pictures, viewports: Sequence[Viewport] | None = None, *, peak: float | None = None
) -> ViewportScores:
    """PSNR of flat views.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        viewports: Which views; `cube_viewports` unless given.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels of each view, [viewports, ...], inf where it is equal; and their mean, [...], to which each view counts
        at most MAX_DB.
    Raises:
        ValueError: shapes differ, W != 2 H, no view, or a view that cannot be.
    Source: Yu, Lakshman, Girod, ISMAR 2015.
    """
    difference, peak = _difference(x, x_hat, peak)
    views = [render_viewport(difference, each) for each in _viewports(difference.shape, viewports)]
    scores = np.stack([_decibels(np.square(view).mean(axis=(-2, -1), dtype=np.float64), peak) for view in views])
    return ViewportScores(scores, capped(scores).mean(axis=0))


def viewport_ssim(
    x: Pictures, x_hat: Pictures, viewports: Sequence[Viewport] | None = None, *, peak: float | None = None
) -> ViewportScores:
    """SSIM of flat views, as `ssim` has it.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        viewports: Which views; `cube_viewports` unless given.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Of each view, [viewports, ...], 1 where equal, NaN where a side is below 11 pixels; and their mean, [...].
    Raises:
        ValueError: shapes differ, W != 2 H, no view, or a view that cannot be.
    """
    peak = _check_pair(x, x_hat, peak)
    views = _viewports(np.shape(x), viewports)
    scores = np.stack([ssim(render_viewport(x, each), render_viewport(x_hat, each), peak=peak) for each in views])
    return ViewportScores(scores, scores.mean(axis=0))


def render_viewport(x: Pictures, viewport: Viewport) -> Float[np.ndarray, "*batch height width"]:
    """What a viewer sees of ERP pictures [..., H, W], bilinear, across +-180 degrees and over the poles.

    Returns:
        [..., height, width]; float32 for whole numbers, else float64.
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
    """The matrix that reads a view from an ERP picture, [pixels of the view, H * W]."""
    directions = viewport_directions(viewport.yaw, viewport.pitch, 0.0, viewport.fov, viewport.size)
    rows, columns = erp_positions(directions.reshape(-1, 3), height, width)
    return erp_weights(rows, columns, height, width, bilinear)


def bilinear(fraction: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
    """Weights of the two taps around a place at `fraction` between them."""
    return np.stack([1 - fraction, fraction], axis=-1)


def _viewports(shape: tuple[int, ...], viewports: Sequence[Viewport] | None) -> Sequence[Viewport]:
    _, width = _check_erp(shape)
    if viewports is None:
        return cube_viewports(width)
    if not viewports:
        raise ValueError("no viewports to measure in; leave them out for the six of the cube")
    return viewports
