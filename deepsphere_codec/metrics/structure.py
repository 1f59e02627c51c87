"""Structural similarity of two pictures: SSIM, MS-SSIM and WS-SSIM, which share their windows.

The conventions are those of `metrics.psnr`. Pictures of 8 bits or in float32 are computed in float32, others in
float64. The loss, 1 - similarity, is averaged instead of the similarity, so that equal pictures give exactly 1, and
float32 keeps its precision if pictures are nearly equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from deepsphere_codec.metrics.psnr import Pictures, _array, _check_erp, _check_pair, row_weights

Similarity = Float[np.ndarray, "*batch"]

REACH = 5  # pixels from the centre of a window of 11 x 11 to its edge
MIN_SIDE = 2 * REACH + 1
SIGMA = 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MULTI_SCALE_MIN_SIDE = (MIN_SIDE - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # 161: as pytorch-msssim has it
_STRIP = 1 << 16  # pixels processed at a time, so that they stay in the processor's cache


class Structure(NamedTuple):
    """Three similarities of the same pictures; each is 1 if they are equal, NaN if they are too small for it."""

    ssim: Similarity
    ms_ssim: Similarity
    ws_ssim: Similarity


class Losses(NamedTuple):
    """Losses of each window: 1 - luminance similarity, and 1 - contrast and structure similarity."""

    luminance: Float[np.ndarray, "*batch h w"]
    contrast: Float[np.ndarray, "*batch h w"]

    @property
    def both(self) -> Float[np.ndarray, "*batch h w"]:
        """Combined loss, 1 - SSIM."""
        return self.luminance + self.contrast - self.luminance * self.contrast


def ssim(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Similarity:
    """Compute the structural similarity (SSIM) at one scale of pictures, treated as flat.

    Gaussian windows of 11 x 11 pixels, sigma 1.5, K = (0.01, 0.03); the mean over all windows inside the picture.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Similarity, [...], 1 if equal; NaN (null in JSON) if a side is below 11 pixels.
    Raises:
        ValueError: shapes differ.
    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.
    """
    peak = _check_pair(x, x_hat, peak)
    if min(np.shape(x)[-2:]) < MIN_SIDE:
        return _unknown(x)
    return _ssim(window_losses(_floats(x), _floats(x_hat), peak))


def ms_ssim(x: Pictures, x_hat: Pictures, *, peak: float | None = None) -> Similarity:
    """Compute the multi-scale structural similarity (MS-SSIM) of pictures, treated as flat: five scales as in `ssim`.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Similarity, [...], 1 if equal; NaN (null in JSON) if a side is below 161 pixels, too few for five scales.
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
    """Compute the structural similarity weighted by the solid angle of each ERP pixel (WS-SSIM).

    sum_ij w_i SSIM_ij / sum_ij w_i, with the windows of `ssim` and the w_i of `ws_psnr`. Every pixel has a window:
    columns wrap, and over a pole lies the same row, shifted by 180 degrees.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
    Returns:
        Similarity, [...], 1 if equal; NaN (null in JSON) if H is below 11.
    Raises:
        ValueError: shapes differ, or W != 2 H.
    Source: Zhou, Yu, Ma, Shao, Jiang, Weighted-to-spherically-uniform SSIM, ICSP 2018 (the weights).
    """
    return structure(x, x_hat, peak=peak, multi_scale=False).ws_ssim


def structure(x: Pictures, x_hat: Pictures, *, peak: float | None = None, multi_scale: bool = True) -> Structure:
    """Compute SSIM, MS-SSIM and WS-SSIM of ERP pictures together, which share the windows of the finest scale.

    Args:
        x: Source, [..., H, W].
        x_hat: Decoded, same shape.
        peak: The largest value; 255 for integers and 1 for floating point unless given.
        multi_scale: Whether to compute MS-SSIM; NaN otherwise.
    Returns:
        The similarities, [...] each.
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
    """Compute the losses of each window that lies inside the pictures.

    With s = x + x_hat and d = x - x_hat: 4 mu mu_hat = mu_s^2 - mu_d^2 and 2 (mu^2 + mu_hat^2) = mu_s^2 + mu_d^2, and
    likewise for the variances. This needs four filters instead of five, with 2 mu_d^2 and 2 var_d in the numerators.

    Args:
        x: Source, [..., h, w].
        x_hat: Decoded, same shape.
        peak: The largest value.
    Returns:
        Losses, [..., h - 10, w - 10] each.
    """
    *batch, height, width = x.shape
    shape = (math.prod(batch), height - 2 * REACH, width - 2 * REACH)
    losses = Losses(np.empty(shape, x.dtype), np.empty(shape, x.dtype))
    rows = max(_STRIP // width, 2 * REACH)
    for picture, picture_hat, *out in zip(
        x.reshape(-1, height, width), x_hat.reshape(-1, height, width), *losses, strict=True
    ):
        for top in range(0, shape[1], rows):
            strip = slice(top, top + rows + 2 * REACH)
            for loss, values in zip(out, _strip_losses(picture[strip], picture_hat[strip], peak), strict=True):
                loss[top : top + rows] = values
    return Losses(*(each.reshape(*batch, *shape[1:]) for each in losses))


def _strip_losses(x: Float[np.ndarray, "h w"], x_hat: Float[np.ndarray, "h w"], peak: float) -> Losses:
    # Variances do not depend on an offset; around 0 the squares are small, which improves the precision in float32.
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
    """MS-SSIM from the losses at the finest scale, and the pictures for the other scales."""
    product, losses = np.ones(x.shape[:-2]), finest
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, x_hat = _halved(x), _halved(x_hat)
            losses = window_losses(x, x_hat, peak)
        is_last = scale == len(SCALE_WEIGHTS) - 1
        loss = (losses.both if is_last else losses.contrast).mean(axis=(-2, -1), dtype=np.float64)
        product *= np.maximum(1 - loss, 0) ** weight  # negative values have no real power
    return product


def _halved(x: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h2 w2"]:
    """Means of 2 x 2 pixels; an odd side is padded with a zero at its beginning, as in pytorch-msssim."""
    odd = [(side % 2, 0) for side in x.shape[-2:]]
    if any(padding for padding, _ in odd):
        x = np.pad(x, [(0, 0)] * (x.ndim - 2) + odd)
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _with_border(x: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h+10 w+10"]:
    """Pad a picture along the sphere: columns wrap, and over a pole lies the same row, shifted by 180 degrees."""
    opposite = np.roll(x, x.shape[-1] // 2, axis=-1)[..., ::-1, :]
    tall = np.concatenate([opposite[..., -REACH:, :], x, opposite[..., :REACH, :]], axis=-2)
    return np.concatenate([tall[..., -REACH:], tall, tall[..., :REACH]], axis=-1)


def _floats(x: Pictures) -> Float[np.ndarray, "*batch h w"]:
    array = _array(x)
    narrow = array.dtype.itemsize == 1 or array.dtype == np.float32
    return array.astype(np.float32 if narrow else np.float64)


def _unknown(x: Pictures) -> Similarity:
    return np.full(tuple(np.shape(x))[:-2], math.nan)
