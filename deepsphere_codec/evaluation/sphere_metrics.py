"""How far a decoded ERP picture is from its source on the sphere: resampled, in structure, at the seam, at the poles.

The conventions are those of `metrics`. Resampling is linear, so where squared errors count it is the difference of the
two pictures that is resampled, in float64. 360Lib rounds each resampled picture to whole grey levels first, which adds
about 1/6 of a squared level: 0.4 dB at 46 dB, and hardly a figure above 56.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float64, Num
from scipy.sparse import csr_array

from deepsphere_codec.evaluation.metrics import (
    SPHERE_POINTS,
    Decibels,
    Pictures,
    _array,
    _check_erp,
    _check_pair,
    _decibels,
    _difference,
    _row_squares,
    row_weights,
)
from deepsphere_codec.sphere.interpolation import keys_weights

Similarity = Float[np.ndarray, "*batch"]
Kernel = Callable[[Float64[np.ndarray, " n"]], Float64[np.ndarray, "n taps"]]

SSIM_REACH = 5  # pixels from the middle of a window of 11 x 11 to its edge
SSIM_MIN_SIDE = 2 * SSIM_REACH + 1
SSIM_SIGMA = 1.5


def s_psnr_i(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Decibels:
    """PSNR over 655,362 points spread evenly on the sphere, with bicubic values between the pixels.

    The points are those of `s_psnr_nn`, the kernel is Keys' with a = -1/2, 360Lib's bicubic one. JVET's own figures
    take 360Lib's default, Lanczos with three lobes.

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
    """PSNR over the pixels of a Craster parabolic map, which all have the same solid angle.

    The map's rectangle is as large as the ERP, two thirds of it lie inside the parabolas, and the values are bicubic as
    in `s_psnr_i` (JVET: Lanczos).

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
    return _decibels(_mean_squares(parabolic_weights(*_check_erp(difference.shape)), difference), peak)


def ssim(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Similarity:
    """Structural similarity at one scale; on the ERP, or a view, as a plain picture.

    Gaussian windows of 11 x 11 pixels, sigma 1.5, K = (0.01, 0.03); the mean over all that lie inside the picture.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        [...], 1 where equal; NaN (null in JSON) where a side is below 11 pixels.
    Raises:
        ValueError: shapes differ.
    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.
    """
    peak = _check_pair(x, x_hat, peak)
    shape = tuple(np.shape(x))
    if min(shape[-2:]) < SSIM_MIN_SIDE:
        return np.full(shape[:-2], math.nan)
    return np.asarray(ssim_map(_float64(x), _float64(x_hat), peak).mean(axis=(-2, -1)))


def ws_ssim(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Similarity:
    """Structural similarity weighted by the solid angle of each ERP pixel.

    sum_ij w_i SSIM_ij / sum_ij w_i, with the windows of `ssim` and the w_i of `ws_psnr`. Every pixel has a window:
    they reach across +-180 degrees, and over a pole into the same row half a turn further.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        [...], 1 where equal; NaN (null in JSON) where H is below 11.
    Raises:
        ValueError: shapes differ, or W != 2 H.
    Source: Zhou, Yu, Ma, Shao, Jiang, Weighted-to-spherically-uniform SSIM, ICSP 2018 (the weights).
    """
    peak = _check_pair(x, x_hat, peak)
    shape = tuple(np.shape(x))
    height, _ = _check_erp(shape)
    if height < SSIM_MIN_SIDE:
        return np.full(shape[:-2], math.nan)
    similarity = ssim_map(_with_border(_float64(x)), _with_border(_float64(x_hat)), peak)
    return np.asarray(1 - (1 - similarity.mean(axis=-1)) @ row_weights(height))  # so that equal pictures give 1.0


def seam_error(x: Pictures, x_hat: Pictures, *, columns: int = 4) -> Decibels:
    """How much larger the error is beside +-180 degrees, where the picture's two edges meet, than elsewhere.

    10 log10 of the mean squared error in the `columns` nearest to the seam on either side over that in all others, each
    pixel by its solid angle. 0 says that the seam is like the rest, 3 that it has twice the error. Four columns are as
    far as the filters of a planar codec reach (8 taps of interpolation, deblocking), which see an edge where the film
    has none. What it shows there counts too: compare codecs on the same film.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        columns: How many on either side belong to the seam.
    Returns:
        Decibels, [...]; 0 where both errors are equal, as where there are none, +-inf where only one of them is 0, NaN
        where no column is left inside.
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
    """How much larger the error is around the poles than elsewhere.

    10 log10 of the mean squared error in the rows whose centres lie within `within` degrees of either pole over that in
    all others, each pixel by its solid angle. 0 says that the poles are like the rest. Within 30 degrees an ERP picture
    is stretched to twice its width and more: 13 % of the sphere, a third of the pixels.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        within: Radius of the two caps, degrees.
    Returns:
        Decibels, [...]; 0 where both errors are equal, as where there are none, +-inf where only one of them is 0, NaN
        where no row lies inside the caps.
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
    """The matrix that reads an ERP picture at the points of S-PSNR, [SPHERE_POINTS, H * W]."""
    return erp_weights(*fibonacci_positions(height, width), height, width, _bicubic)


def fibonacci_positions(height: int, width: int) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Continuous (row, column) of the points of S-PSNR; whole numbers are pixel centres."""
    index = np.arange(SPHERE_POINTS)
    z = 1 - (2 * index + 1) / SPHERE_POINTS
    turns = index * ((math.sqrt(5) - 1) / 2) % 1
    return np.arccos(z) / np.pi * height - 0.5, turns * width - 0.5


@lru_cache(maxsize=2)
def parabolic_weights(height: int, width: int) -> csr_array:
    """The matrix that reads an ERP picture at the pixels inside a Craster parabolic map, [inside, H * W].

    At (x, y) in [-1/2, 1/2]^2, y downwards, the map shows lat = -3 asin y and lon = 2 pi x / (2 cos(2 lat / 3) - 1),
    whose denominator is 1 - 4 y^2, as far as |lon| <= pi.
    """
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    turns = x / (1 - 4 * y**2)
    inside = np.abs(turns) <= 0.5
    rows = np.broadcast_to((3 * np.arcsin(y) / np.pi + 0.5) * height - 0.5, inside.shape)
    columns = (turns + 0.5) * width - 0.5
    return erp_weights(rows[inside], columns[inside], height, width, _bicubic)


def erp_weights(
    rows: Float64[np.ndarray, " n"], columns: Float64[np.ndarray, " n"], height: int, width: int, kernel: Kernel
) -> csr_array:
    """The sparse matrix that reads ERP pictures at continuous positions.

    Taps go on across +-180 degrees, and over a pole into the same row half a turn further.

    Args:
        rows, columns: Positions as `erp_positions` gives them, [n] each.
        height, width: Size of the picture.
        kernel: From the place between the two middle taps, 0 ... 1, [n], to the weights of all taps, [n, taps].
    Returns:
        [n, H * W], float64; each row has taps^2 weights.
    Raises:
        ValueError: fewer than two rows, less than the taps reach beyond a pole.
    """
    if height < 2:
        raise ValueError(f"a picture of {width}x{height} has nothing to interpolate: it needs at least 2 rows")
    row_weight, column_weight = kernel(rows % 1), kernel(columns % 1)
    taps = row_weight.shape[-1]
    reach = np.arange(1 - taps // 2, taps // 2 + 1, dtype=np.int32)
    row = np.floor(rows).astype(np.int32)[:, None] + reach
    column = np.floor(columns).astype(np.int32)[:, None] + reach
    mirrored = np.where(row < 0, -1 - row, np.where(row < height, row, 2 * height - 1 - row))
    half_turn = np.where(mirrored == row, 0, width // 2).astype(np.int32)
    index = mirrored[:, :, None] * width + (column[:, None, :] + half_turn[:, :, None]) % width
    weight = row_weight[:, :, None] * column_weight[:, None, :]
    starts = np.arange(0, index.size + 1, taps**2, dtype=np.int32)
    return csr_array((weight.reshape(-1), index.reshape(-1), starts), shape=(len(rows), height * width))


def ssim_map(
    x: Float64[np.ndarray, "*batch h w"], x_hat: Float64[np.ndarray, "*batch h w"], peak: float
) -> Float64[np.ndarray, "*batch h-10 w-10"]:
    """Structural similarity of each window that lies inside the pictures.

    With s = x + x_hat and d = x - x_hat: 4 mu mu_hat = mu_s^2 - mu_d^2 and 2 (mu^2 + mu_hat^2) = mu_s^2 + mu_d^2, and
    likewise for the variances. That takes four filters in place of five, and equal pictures give exactly 1.
    """
    s, d = x + x_hat, x - x_hat
    mean_s, mean_d = np.square(_window_means(s)), np.square(_window_means(d))
    var_s, var_d = _window_means(s * s) - mean_s, _window_means(d * d) - mean_d
    c1, c2 = 2 * (0.01 * peak) ** 2, 2 * (0.03 * peak) ** 2
    return (mean_s - mean_d + c1) * (var_s - var_d + c2) / ((mean_s + mean_d + c1) * (var_s + var_d + c2))


def _window_means(x: Float64[np.ndarray, "*batch h w"]) -> Float64[np.ndarray, "*batch h-10 w-10"]:
    window = np.exp(-np.square(np.arange(-SSIM_REACH, SSIM_REACH + 1)) / (2 * SSIM_SIGMA**2))
    window /= window.sum()
    for _ in range(2):  # along the rows, then along the columns
        size = x.shape[-1] - 2 * SSIM_REACH
        total = window[SSIM_REACH] * x[..., SSIM_REACH : SSIM_REACH + size]
        for k in range(SSIM_REACH):
            total += window[k] * (x[..., k : k + size] + x[..., 2 * SSIM_REACH - k :][..., :size])
        x = total.swapaxes(-1, -2)
    return x


def _with_border(x: Float64[np.ndarray, "*batch h w"]) -> Float64[np.ndarray, "*batch h+10 w+10"]:
    """As the sphere goes on around the picture: over a pole lies the same row, half a turn further."""
    opposite = np.roll(x, x.shape[-1] // 2, axis=-1)[..., ::-1, :]
    tall = np.concatenate([opposite[..., -SSIM_REACH:, :], x, opposite[..., :SSIM_REACH, :]], axis=-2)
    return np.concatenate([tall[..., -SSIM_REACH:], tall, tall[..., :SSIM_REACH]], axis=-1)


def _bicubic(fraction: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4"]:
    return keys_weights(fraction, a=-0.5)


def _mean_squares(weights: csr_array, difference: Num[np.ndarray, "*batch h w"]) -> Float64[np.ndarray, "*batch"]:
    flat = difference.reshape(-1, weights.shape[1]).astype(np.float64)
    squares = [np.mean(np.square(weights @ each)) for each in flat]
    return np.reshape(squares, difference.shape[:-2])


def _excess(errors: Float64[np.ndarray, "*batch n"], weights: Float64[np.ndarray, " n"], here: np.ndarray) -> Decibels:
    """The weighted mean of the errors here over that elsewhere, in dB."""
    if here.all() or not here.any():
        return np.full(errors.shape[:-1], math.nan)
    near, far = (errors[..., part] @ weights[part] / weights[part].sum() for part in (here, ~here))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(near == far, 0.0, 10 * np.log10(near / far))


def _float64(x: Pictures) -> Float64[np.ndarray, "*batch h w"]:
    return np.asarray(_array(x), dtype=np.float64)
