"""How alike the structure of two pictures is: SSIM, MS-SSIM and WS-SSIM, which share their windows.

The conventions are those of `metrics`. Pictures of 8 bits or in float32 are computed in float32, others in float64.
What is summed is the loss, 1 - similarity, as a fraction of sums: so equal pictures give exactly 1, and float32 keeps
its digits where pictures are nearly equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from deepsphere_codec.metrics.psnr import Pictures, _array, _check_erp, _check_pair, row_weights

Similarity = Float[np.ndarray, "*batch"]

REACH = 5  # pixels from the middle of a window of 11 x 11 to its edge
MIN_SIDE = 2 * REACH + 1
SIGMA = 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MULTI_SCALE_MIN_SIDE = (MIN_SIDE - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # 161: as pytorch-msssim has it
_STRIP = 1 << 16  # pixels worked on at a time: what they take stays in the processor's cache


class Structure(NamedTuple):
    """The three similarities of the same pictures; each 1 where equal, NaN where the pictures are too small for it."""

    ssim: Similarity
    ms_ssim: Similarity
    ws_ssim: Similarity


class Losses(NamedTuple):
    """Of each window: 1 - luminance similarity, and 1 - contrast and structure similarity."""

    luminance: Float[np.ndarray, "*batch h w"]
    contrast: Float[np.ndarray, "*batch h w"]

    @property
    def both(self) -> Float[np.ndarray, "*batch h w"]:
        """1 - SSIM."""
        return self.luminance + self.contrast - self.luminance * self.contrast


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
    if min(np.shape(x)[-2:]) < MIN_SIDE:
        return _unknown(x)
    return _ssim(window_losses(_floats(x), _floats(x_hat), peak))


def ms_ssim(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Similarity:
    """Multi-scale structural similarity, five scales, the windows of `ssim`; on the ERP as a plain picture.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        [...], 1 where equal; NaN (null in JSON) where a side is below 161 pixels, too few for five scales.
    Raises:
        ValueError: shapes differ.
    Source: Wang, Simoncelli, Bovik, Asilomar 2003.
    """
    peak = _check_pair(x, x_hat, peak)
    if min(np.shape(x)[-2:]) < MULTI_SCALE_MIN_SIDE:
        return _unknown(x)
    x, x_hat = _floats(x), _floats(x_hat)
    return _ms_ssim(window_losses(x, x_hat, peak), x, x_hat, peak)


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
    return structure(x, x_hat, peak=peak, multi_scale=False).ws_ssim


def structure(x: Pictures, x_hat: Pictures, *, peak: float | None = None, multi_scale: bool = True) -> Structure:
    """SSIM, MS-SSIM and WS-SSIM of ERP pictures, for the price of little more than one: they share the finest windows.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
        multi_scale: Whether MS-SSIM is wanted; NaN otherwise.
    Raises:
        ValueError: shapes differ, or W != 2 H.
    """
    peak = _check_pair(x, x_hat, peak)
    height, _ = _check_erp(tuple(np.shape(x)))
    if height < MIN_SIDE:
        return Structure(_unknown(x), _unknown(x), _unknown(x))
    x, x_hat = _floats(x), _floats(x_hat)
    around = window_losses(_with_border(x), _with_border(x_hat), peak)
    inside = Losses(*(each[..., REACH:-REACH, REACH:-REACH] for each in around))
    multi = multi_scale and height >= MULTI_SCALE_MIN_SIDE
    return Structure(
        ssim=_ssim(inside),
        ms_ssim=_ms_ssim(inside, x, x_hat, peak) if multi else _unknown(x),
        ws_ssim=np.asarray(1 - around.both.mean(axis=-1, dtype=np.float64) @ row_weights(height)),
    )


def window_losses(x: Float[np.ndarray, "*batch h w"], x_hat: Float[np.ndarray, "*batch h w"], peak: float) -> Losses:
    """Of each window that lies inside the pictures, [..., h - 10, w - 10].

    With s = x + x_hat and d = x - x_hat: 4 mu mu_hat = mu_s^2 - mu_d^2 and 2 (mu^2 + mu_hat^2) = mu_s^2 + mu_d^2, and
    likewise for the variances. That takes four filters in place of five, and leaves 2 mu_d^2 and 2 var_d on top.
    """
    *batch, height, width = x.shape
    shape = (math.prod(batch), height - 2 * REACH, width - 2 * REACH)
    losses = Losses(np.empty(shape, x.dtype), np.empty(shape, x.dtype))
    rows = max(_STRIP // width, 2 * REACH)
    for picture, picture_hat, *out in zip(
        x.reshape(-1, height, width), x_hat.reshape(-1, height, width), *losses, strict=True
    ):
        for top in range(0, shape[1], rows):
            here = slice(top, top + rows + 2 * REACH)
            for loss, values in zip(out, _strip_losses(picture[here], picture_hat[here], peak), strict=True):
                loss[top : top + rows] = values
    return Losses(*(each.reshape(*batch, *shape[1:]) for each in losses))


def _strip_losses(x: Float[np.ndarray, "h w"], x_hat: Float[np.ndarray, "h w"], peak: float) -> Losses:
    # Variances do not depend on where grey levels begin; around 0 their squares are small, and float32 sees more.
    s, d = x + x_hat - x.dtype.type(peak), x - x_hat
    mean_s, mean_d, square_s, square_d = (_window_means(each) for each in (s, d, s * s, d * d))
    var_s, var_d = square_s - mean_s * mean_s, square_d - mean_d * mean_d
    mean_s += x.dtype.type(peak)
    c1, c2 = (x.dtype.type(2 * (k * peak) ** 2) for k in (K1, K2))
    mean_d *= mean_d
    return Losses(2 * mean_d / (mean_s * mean_s + mean_d + c1), 2 * var_d / (var_s + var_d + c2))


def _window_means(x: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h-10 w-10"]:
    return _means_along_rows(_means_along_rows(x.T).T)


def _means_along_rows(x: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w-10"]:
    window = np.exp(-np.square(np.arange(REACH + 1)) / (2 * SIGMA**2))
    window = (window / (2 * window.sum() - window[0])).astype(x.dtype)  # by distance from the middle
    size = x.shape[1] - 2 * REACH
    total = window[0] * x[:, REACH : REACH + size]
    for k in range(1, REACH + 1):
        pair = x[:, REACH - k :][:, :size] + x[:, REACH + k :][:, :size]
        pair *= window[k]
        total += pair
    return total


def _ssim(losses: Losses) -> Similarity:
    return np.asarray(1 - losses.both.mean(axis=(-2, -1), dtype=np.float64))


def _ms_ssim(
    finest: Losses, x: Float[np.ndarray, "*batch h w"], x_hat: Float[np.ndarray, "*batch h w"], peak: float
) -> Similarity:
    """From the windows at the finest scale, and the pictures that the others are made of."""
    product, losses = np.ones(x.shape[:-2]), finest
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, x_hat = _halved(x), _halved(x_hat)
            losses = window_losses(x, x_hat, peak)
        is_last = scale == len(SCALE_WEIGHTS) - 1
        loss = (losses.both if is_last else losses.contrast).mean(axis=(-2, -1), dtype=np.float64)
        product *= np.maximum(1 - loss, 0) ** weight  # a negative structure has no such power
    return product


def _halved(x: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h2 w2"]:
    """Means of 2 x 2 pixels; an odd side is begun with a zero, as pytorch-msssim does."""
    odd = [(side % 2, 0) for side in x.shape[-2:]]
    if any(before for before, _ in odd):
        x = np.pad(x, [(0, 0)] * (x.ndim - 2) + odd)
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _with_border(x: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h+10 w+10"]:
    """As the sphere goes on around the picture: over a pole lies the same row, half a turn further."""
    opposite = np.roll(x, x.shape[-1] // 2, axis=-1)[..., ::-1, :]
    tall = np.concatenate([opposite[..., -REACH:, :], x, opposite[..., :REACH, :]], axis=-2)
    return np.concatenate([tall[..., -REACH:], tall, tall[..., :REACH]], axis=-1)


def _floats(x: Pictures) -> Float[np.ndarray, "*batch h w"]:
    array = _array(x)
    narrow = array.dtype.itemsize == 1 or array.dtype == np.float32
    return array.astype(np.float32 if narrow else np.float64)


def _unknown(x: Pictures) -> Similarity:
    return np.full(tuple(np.shape(x))[:-2], math.nan)
