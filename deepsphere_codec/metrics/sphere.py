"""Metrics of a decoded ERP picture on the sphere: PSNR after resampling, and errors at the seam and the poles.

The conventions are those of `metrics.psnr`. Since resampling is linear, the difference of the two pictures is
resampled, in float32 for 8-bit pictures, which changes results by less than 1e-5 dB. 360Lib rounds each resampled
picture to whole grey levels first, which adds about 1/6 of a squared level: 0.4 dB at 46 dB, so that its values hardly
exceed 56 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Num
from scipy.sparse import csr_array

from deepsphere_codec.metrics.psnr import (
    SPHERE_POINTS,
    Decibels,
    Pictures,
    _check_erp,
    _decibels,
    _difference,
    _row_squares,
    row_weights,
)
from deepsphere_codec.sphere.interpolation import keys_weights

Kernel = Callable[[Float64[np.ndarray, " n"]], Float64[np.ndarray, "n taps"]]


def s_psnr_i(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """Compute the PSNR over 655,362 points spread evenly on the sphere, with bicubic interpolation (S-PSNR-I).

    The points are those of `s_psnr_nn`, the kernel is Keys' with a = -1/2, 360Lib's bicubic one. JVET's own results
    use 360Lib's default, Lanczos with three lobes.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]; inf where equal.
    Raises:
        ValueError: shapes differ, W != 2 H, or H < 2.
    Source: Yu, Lakshman, Girod, ISMAR 2015; Keys, IEEE TASSP 29(6), 1981.
    """
    difference, peak = _difference(x, x_hat, peak)
    return _decibels(_mean_squares(fibonacci_weights(*_check_erp(difference.shape)), difference), peak)


def cpp_psnr(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """Compute the PSNR over the pixels of a Craster parabolic map, which have equal solid angles (CPP-PSNR).

    The map's rectangle is as large as the ERP, two thirds of it lie inside the parabolas, and the interpolation is
    bicubic as in `s_psnr_i` (JVET: Lanczos).

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Decibels, [...]; inf where equal.
    Raises:
        ValueError: shapes differ, W != 2 H, or H < 2.
    Source: Zakharchenko, Choi, Park, Quality metric for spherical panoramic video, Proc. SPIE 9970, 2016.
    """
    difference, peak = _difference(x, x_hat, peak)
    down, across = parabolic_weights(*_check_erp(difference.shape))
    tall = _with_rows_over_poles(resampled_dtype(difference))
    squares = [
        np.mean(np.square(across @ (down @ each).reshape(-1)), dtype=np.float64)
        for each in tall.reshape(-1, *tall.shape[-2:])
    ]
    return _decibels(np.reshape(squares, difference.shape[:-2]), peak)


def seam_error(x: Pictures, x_hat: Pictures, *, columns: int = 4) -> Decibels:
    """Measure how much larger the error is at the seam (+-180 degrees, where the picture's edges meet) than elsewhere.

    The result is 10 log10 of the ratio of the mean squared error in the `columns` nearest to the seam on either side to
    that in all other columns, weighted by solid angle. 0 dB means that the seam equals the rest, 3 dB that it has twice
    the error. Four columns are the reach of a planar codec's filters (8-tap interpolation, deblocking), for which the
    seam is an edge. The result also depends on the content at the seam: compare codecs on the same film.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        columns: Number of columns on either side that belong to the seam.
    Returns:
        Decibels, [...]; 0 if both errors are equal (also if both are 0), +-inf if only one of them is 0, NaN if no
        other column is left.
    Raises:
        ValueError: shapes differ, W != 2 H, or columns below 1.
    """
    if columns < 1:
        raise ValueError(f"a seam of {columns} columns: it has at least 1 on either side")
    difference, _ = _difference(x, x_hat, None)
    height, width = _check_erp(difference.shape)
    errors = row_weights(height) @ np.square(difference, dtype=np.float64)
    distance = np.minimum(np.arange(width), np.arange(width)[::-1])
    return _excess(errors, np.ones(width), distance < columns)


def pole_error(x: Pictures, x_hat: Pictures, *, within: float = 30.0) -> Decibels:
    """Measure how much larger the error is around the poles than elsewhere.

    The result is 10 log10 of the ratio of the mean squared error in the rows whose centres lie within `within` degrees
    of either pole to that in all other rows, weighted by solid angle. 0 dB means that the poles equal the rest. Within
    30 degrees an ERP picture is stretched to at least twice its width: 13 % of the sphere, a third of the pixels.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        within: Radius of the two caps, degrees.
    Returns:
        Decibels, [...]; 0 if both errors are equal (also if both are 0), +-inf if only one of them is 0, NaN if no row
        lies inside the caps.
    Raises:
        ValueError: shapes differ, W != 2 H, or within outside (0, 90).
    """
    if not 0 < within < 90:
        raise ValueError(f"polar caps of {within} degrees: the radius lies between 0 and 90")
    squares, _ = _row_squares(x, x_hat, None)
    height, _ = _check_erp(np.shape(x))
    lat = np.abs(np.arange(height) + 0.5 - height / 2) * 180 / height
    return _excess(squares, row_weights(height), lat > 90 - within)


@lru_cache(maxsize=2)
def fibonacci_weights(height: int, width: int) -> csr_array:
    """Build the matrix that interpolates an ERP picture at the points of S-PSNR.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        Sparse matrix, [SPHERE_POINTS, height * width].
    """
    return erp_weights(*fibonacci_positions(height, width), height, width, _bicubic)


def fibonacci_positions(height: int, width: int) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Compute the positions of the points of S-PSNR in an ERP picture.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        (row, column), [SPHERE_POINTS] each, in pixels; whole numbers are pixel centres.
    """
    index = np.arange(SPHERE_POINTS)
    z = 1 - (2 * index + 1) / SPHERE_POINTS
    turns = index * ((math.sqrt(5) - 1) / 2) % 1
    return np.arccos(z) / np.pi * height - 0.5, turns * width - 0.5


class ParabolicWeights(NamedTuple):
    """Separable interpolation of an ERP picture at the pixels inside a Craster parabolic map.

    All pixels of a row of the map lie on one parallel, so rows are interpolated first, then positions along them. Four
    taps twice take a quarter of the memory of sixteen, which matters at 8K.

    Attributes:
        down: Interpolation of the rows, [H, H + 4], of a picture with two more rows at either pole.
        across: Interpolation along the rows, [pixels inside the map, H * W].
    """

    down: csr_array
    across: csr_array


@lru_cache(maxsize=2)
def parabolic_weights(height: int, width: int) -> ParabolicWeights:
    """Build the interpolation at the pixels of a Craster parabolic map of the ERP's size.

    At (x, y) in [-1/2, 1/2]^2, y downwards, the map shows lat = -3 asin y and lon = 2 pi x / (2 cos(2 lat / 3) - 1),
    whose denominator is 1 - 4 y^2, for |lon| <= pi.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
    Returns:
        The interpolation.
    Raises:
        ValueError: fewer than two rows.
    """
    _check_rows(height, width)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    rows = (3 * np.arcsin(y) / np.pi + 0.5) * height - 0.5
    turns = x / (1 - 4 * y[:, None] ** 2)
    row, column = np.nonzero(np.abs(turns) <= 0.5)
    columns = (turns[row, column] + 0.5) * width - 0.5
    (down, up_down), (across, sideways) = _bicubic_taps(rows), _bicubic_taps(columns)
    row_start = (row * width).astype(np.int32)[:, None]
    return ParabolicWeights(
        _matrix(down, up_down + 2, height + 4),  # past the rows over the pole
        _matrix(across, sideways % width + row_start, height * width),
    )


def erp_weights(
    rows: Float64[np.ndarray, " n"], columns: Float64[np.ndarray, " n"], height: int, width: int, kernel: Kernel
) -> csr_array:
    """Build the sparse matrix that interpolates ERP pictures at continuous positions.

    Columns wrap; over a pole lies the same row, shifted by 180 degrees.

    Args:
        rows: Row positions in pixels, [n], as returned by `erp_positions`.
        columns: Column positions in pixels, [n].
        height: Rows of the picture.
        width: Columns of the picture.
        kernel: Function from the position between the two middle taps, 0 ... 1, [n], to the weights of all taps,
            [n, taps].
    Returns:
        Sparse matrix, [n, height * width], float32; each row has taps^2 weights.
    Raises:
        ValueError: fewer than two rows, which the taps would exceed beyond a pole.
    """
    _check_rows(height, width)
    row_weight, column_weight = kernel(rows % 1), kernel(columns % 1)
    taps = row_weight.shape[-1]
    reach = np.arange(1 - taps // 2, taps // 2 + 1, dtype=np.int32)
    row = np.floor(rows).astype(np.int32)[:, None] + reach
    column = np.floor(columns).astype(np.int32)[:, None] + reach
    mirrored = np.where(row < 0, -1 - row, np.where(row < height, row, 2 * height - 1 - row))
    half_turn = np.where(mirrored == row, 0, width // 2).astype(np.int32)
    index = mirrored[:, :, None] * width + (column[:, None, :] + half_turn[:, :, None]) % width
    weight = row_weight[:, :, None] * column_weight[:, None, :]
    return _matrix(weight.reshape(len(rows), -1), index.reshape(len(rows), -1), height * width)


def resampled_dtype(pictures: Num[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Convert pictures for resampling: integers to float32, which is precise enough for them, others to float64."""
    return pictures.astype(np.float64 if pictures.dtype.kind == "f" else np.float32)


def _check_rows(height: int, width: int) -> None:
    if height < 2:
        raise ValueError(f"a picture of {width}x{height} has nothing to interpolate: it needs at least 2 rows")


def _matrix(weights: Float[np.ndarray, "n taps"], index: Int[np.ndarray, "n taps"], columns: int) -> csr_array:
    """Sparse matrix, [n, columns], float32, with the same number of taps in each row."""
    starts = np.arange(0, index.size + 1, index.shape[1], dtype=np.int32)
    return csr_array((weights.astype(np.float32).reshape(-1), index.reshape(-1), starts), shape=(len(index), columns))


def _bicubic_taps(
    places: Float64[np.ndarray, " n"],
) -> tuple[Float64[np.ndarray, "n 4"], Int[np.ndarray, "n 4"]]:
    """Weights of the four pixels around each position along an axis, and their indices, which may lie outside."""
    return _bicubic(places % 1), np.floor(places).astype(np.int32)[:, None] + np.arange(-1, 3, dtype=np.int32)


def _with_rows_over_poles(x: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h+4 w"]:
    """Add two rows at either pole: over a pole lies the same row, shifted by 180 degrees."""
    opposite = np.roll(x, x.shape[-1] // 2, axis=-1)[..., ::-1, :]
    return np.concatenate([opposite[..., -2:, :], x, opposite[..., :2, :]], axis=-2)


def _bicubic(fraction: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4"]:
    return keys_weights(fraction, a=-0.5)


def _mean_squares(weights: csr_array, difference: Num[np.ndarray, "*batch h w"]) -> Float64[np.ndarray, "*batch"]:
    flat = resampled_dtype(difference).reshape(-1, weights.shape[1])
    squares = [np.mean(np.square(weights @ each), dtype=np.float64) for each in flat]
    return np.reshape(squares, difference.shape[:-2])


def _excess(
    errors: Float64[np.ndarray, "*batch n"], weights: Float64[np.ndarray, " n"], inside: np.ndarray
) -> Decibels:
    """Ratio of the weighted mean error inside a region to that outside, in dB."""
    if inside.all() or not inside.any():
        return np.full(errors.shape[:-1], math.nan)
    mean, mean_outside = (errors[..., part] @ weights[part] / weights[part].sum() for part in (inside, ~inside))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == mean_outside, 0.0, 10 * np.log10(mean / mean_outside))
