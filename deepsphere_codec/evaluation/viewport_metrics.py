"""How far a decoded ERP picture is from its source where a viewer looks: in flat views. And all metrics of a frame.

The conventions are those of `metrics`. Views are read bilinearly, as players and 360Lib do, and are not rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy.sparse import csr_array

from deepsphere_codec.evaluation.metrics import (
    MAX_DB,
    Pictures,
    _array,
    _check_erp,
    _check_pair,
    _decibels,
    _difference,
    capped,
    combine_yuv,
    ms_ssim,
    psnr,
    s_psnr_nn,
    ws_psnr,
)
from deepsphere_codec.evaluation.sphere_metrics import (
    cpp_psnr,
    erp_weights,
    pole_error,
    s_psnr_i,
    seam_error,
    ssim,
    ws_ssim,
)
from deepsphere_codec.sphere import viewport_directions
from deepsphere_codec.sphere.erp import erp_positions
from deepsphere_codec.video import YuvFrame

LUMA_METRICS: dict[str, Callable[[Pictures, Pictures], Float[np.ndarray, "*batch"]]] = {
    "psnr-y": psnr,
    "s-psnr-nn-y": s_psnr_nn,
    "s-psnr-i-y": s_psnr_i,
    "cpp-psnr-y": cpp_psnr,
    "ssim-y": ssim,
    "ms-ssim-y": ms_ssim,
    "ws-ssim-y": ws_ssim,
    "seam-y": seam_error,
    "pole-y": pole_error,
}


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


class ViewportScores(NamedTuple):
    """A metric of several views of the same pictures."""

    per_viewport: Float[np.ndarray, "viewports ..."]
    mean: Float[np.ndarray, "*batch"]


def cube_viewports(width: int) -> tuple[Viewport, ...]:
    """The six fixed views: front, right, back, left, up and down, 90 x 90 degrees each, together the whole sphere.

    Args:
        width: Of the ERP, pixels. A view has a quarter of it on either side, as many pixels as the ERP's equator.
    """
    size = (width // 4, width // 4)
    around = [Viewport(yaw, 0.0, 90.0, size) for yaw in (0.0, 90.0, 180.0, -90.0)]
    return (*around, Viewport(0.0, 90.0, 90.0, size), Viewport(0.0, -90.0, 90.0, size))


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
    scores = np.stack([_decibels(np.square(view).mean(axis=(-2, -1)), peak) for view in views])
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


def render_viewport(x: Pictures, viewport: Viewport) -> Float64[np.ndarray, "*batch height width"]:
    """What a viewer sees of ERP pictures [..., H, W], bilinear, across +-180 degrees and over the poles.

    Raises:
        ValueError: W != 2 H, a field of view outside (0, 180), or an empty size.
    """
    pictures = _array(x)
    height, width = _check_erp(pictures.shape)
    weights = viewport_weights(viewport, height, width)
    flat = pictures.reshape(-1, height * width).astype(np.float64)
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


def measure_frame(
    frame: YuvFrame, frame_hat: YuvFrame, viewports: Sequence[Viewport] | None = None
) -> dict[str, float | None]:
    """All metrics of one 8-bit frame, by the keys that results use; ready for JSON.

    Args:
        frame: Source.
        frame_hat: Decoded, same shapes.
        viewports: Which views; `cube_viewports` unless given.
    Returns:
        Decibels, within +-MAX_DB, and similarities; None where the picture is too small for a metric.
    Raises:
        ValueError: shapes differ, a plane is not 2:1, or what `viewport_psnr` says of views.
    """
    planes = [capped(ws_psnr(x, x_hat)) for x, x_hat in zip(frame, frame_hat, strict=True)]
    values = dict(zip(("ws-psnr-y", "ws-psnr-u", "ws-psnr-v"), planes, strict=True))
    values["ws-psnr-yuv"] = combine_yuv(*planes)
    values |= {key: metric(frame.y, frame_hat.y) for key, metric in LUMA_METRICS.items()}
    values["viewport-psnr-y"] = viewport_psnr(frame.y, frame_hat.y, viewports).mean
    values["viewport-ssim-y"] = viewport_ssim(frame.y, frame_hat.y, viewports).mean
    return {key: None if np.isnan(value) else float(np.clip(value, -MAX_DB, MAX_DB)) for key, value in values.items()}


def _viewports(shape: tuple[int, ...], viewports: Sequence[Viewport] | None) -> Sequence[Viewport]:
    _, width = _check_erp(shape)
    if viewports is None:
        return cube_viewports(width)
    if not viewports:
        raise ValueError("no viewports to measure in; leave them out for the six of the cube")
    return viewports
