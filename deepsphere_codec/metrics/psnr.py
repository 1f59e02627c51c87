"""PSNR metrics of a decoded ERP picture against its source.

All functions take numpy arrays or torch tensors, on any device, and sum in integers or float64. For equal pictures they
return inf. Wherever decibels are averaged or stored (over planes, over frames, in JSON, which has no infinity) they are
first limited to `MAX_DB`, so that a single equal frame cannot make a mean infinite.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Num
from torch import Tensor

Pictures = Num[np.ndarray, "*batch h w"] | Num[Tensor, "*batch h w"]
Decibels = Float[np.ndarray, "*batch"]

MAX_DB = 100.0  # about the limit of 8 bits: an error of one grey level in one pixel of 1024 x 512 is 105 dB
SPHERE_POINTS = 655_362  # number of points in JVET's S-PSNR-NN


class Planes(NamedTuple):
    """Planes of a 4:2:0 picture, each [..., h, w]; a `YuvFrame` can be used instead."""

    y: Pictures
    u: Pictures
    v: Pictures


def psnr(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """Compute the plain PSNR with equal weights for all pixels, which overrates the poles of an ERP picture.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]; inf where equal.
    Raises:
        ValueError: shapes differ.
    """
    squares, peak = _row_squares(x, x_hat, peak)
    return _decibels(squares.mean(axis=-1), peak)


def ws_psnr(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """Compute the PSNR weighted by the solid angle of each ERP pixel (WS-PSNR).

    Row i weighs cos((i + 0.5 - H/2) * pi / H).

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]; inf where equal.
    Raises:
        ValueError: shapes differ, or W != 2 H.
    Source: Sun, Lu, Yu, IEEE SPL 24(9), 2017, eq. (5).
    """
    squares, peak = _row_squares(x, x_hat, peak)
    _check_erp(np.shape(x))
    return _decibels(squares @ row_weights(squares.shape[-1]), peak)


def ws_psnr_yuv(frame: Planes, frame_hat: Planes, *, peak: float | None = None) -> Decibels:
    """Compute JVET's WS-PSNR of a colour picture: (6 Y + U + V) / 8 of the planes' WS-PSNR in dB.

    Args:
        frame: Source, (y, u, v) planes, each [..., h, w] and 2:1.
        frame_hat: Decoded, same shapes.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]. Each plane is limited to MAX_DB, so that the result is finite for a film without colour.
    Raises:
        ValueError: shapes differ, or a plane is not 2:1.
    """
    planes = [capped(ws_psnr(x, x_hat, peak=peak)) for x, x_hat in zip(frame, frame_hat, strict=True)]
    return combine_yuv(*planes)


def combine_yuv(y: Decibels, u: Decibels, v: Decibels) -> Decibels:
    """Average the planes' decibels with weights 6:1:1.

    Args:
        y: Decibels of luma, [...].
        u: Decibels of Cb, [...].
        v: Decibels of Cr, [...].
    Returns:
        Decibels, [...].
    """
    return (6 * y + u + v) / 8


def s_psnr_nn(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """Compute the PSNR over 655,362 points spread evenly on the sphere, each at its nearest ERP pixel (S-PSNR-NN).

    The points are a Fibonacci set, as many and as even as JVET's subdivided icosahedron, but not the same points.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]; inf where every sampled pixel is equal (near the poles not every pixel is sampled).
    Raises:
        ValueError: shapes differ, or W != 2 H.
    Source: Yu, Lakshman, Girod, ISMAR 2015; Swinbank, Purser, QJRMS 132, 2006 (the points).
    """
    difference, peak = _difference(x, x_hat, peak)
    height, width = _check_erp(difference.shape)
    counts = fibonacci_counts(height, width)
    flat = np.square(difference, dtype=np.float64).reshape(*difference.shape[:-2], height * width)
    return _decibels(flat @ counts / SPHERE_POINTS, peak)


def capped(decibels: Decibels) -> Decibels:
    """Limit decibels to MAX_DB, so that they can be averaged and stored."""
    return np.minimum(decibels, MAX_DB)


@lru_cache(maxsize=16)
def row_weights(height: int) -> Float[np.ndarray, " h"]:
    """Solid angle of a pixel in each ERP row, [height], normalised to a sum of 1."""
    weights = np.cos((np.arange(height) + 0.5 - height / 2) * np.pi / height)
    weights /= weights.sum()
    weights.flags.writeable = False  # shared by every later call
    return weights


@lru_cache(maxsize=8)
def fibonacci_counts(height: int, width: int) -> Float64[np.ndarray, " {height}*{width}"]:
    """Count the points of S-PSNR-NN whose nearest pixel is each ERP pixel.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        Counts, [height * width], row by row, as float64.
    """
    index = np.arange(SPHERE_POINTS)
    z = 1 - (2 * index + 1) / SPHERE_POINTS
    turns = index * ((math.sqrt(5) - 1) / 2) % 1
    rows = np.minimum((np.arccos(z) / np.pi * height).astype(np.int64), height - 1)
    columns = np.minimum((turns * width).astype(np.int64), width - 1)
    counts = np.bincount(rows * width + columns, minlength=height * width).astype(np.float64)
    counts.flags.writeable = False  # shared by every later call
    return counts


def _row_squares(x: Pictures, x_hat: Pictures, peak: float | None) -> tuple[Float[np.ndarray, "*batch h"], float]:
    """Mean squared difference of each row, [..., h], and the peak value."""
    difference, peak = _difference(x, x_hat, peak)
    exact = np.int64 if difference.dtype.kind == "i" else np.float64
    return np.einsum("...w,...w->...", difference, difference, dtype=exact) / difference.shape[-1], peak


def _difference(x: Pictures, x_hat: Pictures, peak: float | None) -> tuple[Num[np.ndarray, "*batch h w"], float]:
    peak = _check_pair(x, x_hat, peak)
    a, b = _array(x), _array(x_hat)
    wide = np.int32 if a.dtype.kind in "iub" and b.dtype.kind in "iub" else np.float64
    return np.subtract(a, b, dtype=wide), peak


def _check_pair(x: Pictures, x_hat: Pictures, peak: float | None) -> float:
    shape, shape_hat = tuple(np.shape(x)), tuple(np.shape(x_hat))
    if shape != shape_hat or len(shape) < 2:
        raise ValueError(f"pictures of {shape} and {shape_hat}: both must be the same [..., H, W]")
    if peak is not None:
        return peak
    return 1.0 if _array(x).dtype.kind == "f" else 255.0


def _check_erp(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = shape[-2:]
    if width != 2 * height:
        raise ValueError(f"a picture of {width}x{height} is no ERP: the width must be twice the height")
    return height, width


def _array(x: Pictures) -> Num[np.ndarray, "*batch h w"]:
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _decibels(mse: Float[np.ndarray, "*batch"], peak: float) -> Decibels:
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(peak**2 / mse))
