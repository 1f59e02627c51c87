"""SSIM, MS-SSIM and WS-SSIM by hand, against pytorch-msssim, and against FFmpeg's ssim360."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ffmpeg_filters import filtered
from pytorch_msssim import ms_ssim as reference_ms_ssim
from pytorch_msssim import ssim as reference_ssim
from scipy.ndimage import gaussian_filter

from deepsphere_codec.metrics.structure import ms_ssim, ssim, structure, ws_ssim

H, W = 64, 128
LARGE = (176, 352)  # room for five scales


def grey(height: int = H, width: int = W) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise without a seam, between 28 and 228."""
    flat = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2, mode=("nearest", "wrap"))
    return np.round(128 + 100 * flat / np.abs(flat).max()).astype(np.uint8)


@pytest.mark.parametrize("offset", [0, 5, 100])
@pytest.mark.parametrize("metric", [ssim, ws_ssim])
def test_ssim_of_flat_pictures(metric, offset: int) -> None:
    expected = (2 * 100 * (100 + offset) + 2.55**2) / (100**2 + (100 + offset) ** 2 + 2.55**2)
    assert float(metric(grey(), grey() + np.uint8(offset))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [ssim, ws_ssim])
def test_ssim_of_equal_and_of_opposite_pictures(metric) -> None:
    x = noise(H, W)
    assert float(metric(x, x)) == 1.0
    assert float(metric(x, 255 - x)) < -0.5


def pictures(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and itself with more noise at the top."""
    x = noise(*shape).astype(float)
    more = np.random.default_rng(1).normal(0, 1, shape) * np.geomspace(200, 2, shape[-2])[:, None]
    return x, np.clip(x + more, 0, 255)


def test_ssim_agrees_with_pytorch_msssim() -> None:
    x, x_hat = pictures(3, H, W)
    expected = reference_ssim(*(torch.from_numpy(each)[:, None] for each in (x, x_hat)), 255, size_average=False)
    np.testing.assert_allclose(ssim(x, x_hat, peak=255), expected, rtol=0, atol=1e-6)  # its window is float32


def test_ws_ssim_agrees_with_pytorch_msssim_row_by_row() -> None:
    x, x_hat = pictures(H, W)
    strips = []
    for each in (x, x_hat):
        over_pole = np.pad(np.roll(each, W // 2, axis=1), ((5, 5), (0, 0)), mode="symmetric")
        over_pole[5:-5] = each
        around = np.pad(over_pole, ((0, 0), (5, 5)), mode="wrap")
        strips.append(torch.from_numpy(np.stack([around[i : i + 11] for i in range(H)]))[:, None])
    rows = reference_ssim(*strips, 255, size_average=False).numpy()
    weights = [math.cos((i + 0.5 - H / 2) * math.pi / H) for i in range(H)]
    expected = np.average(rows, weights=weights)
    assert expected > rows.mean() + 0.02  # the weights tell
    assert float(ws_ssim(x, x_hat, peak=255)) == pytest.approx(expected, abs=1e-6)


def test_ws_ssim_knows_no_seam() -> None:
    x, x_hat = pictures(H, W)
    turned = ws_ssim(*(np.roll(each, 61, axis=1) for each in (x, x_hat)), peak=255)
    assert float(turned) == pytest.approx(float(ws_ssim(x, x_hat, peak=255)), abs=1e-12)


def test_ws_ssim_of_an_error_in_one_row_and_at_one_pole() -> None:
    at_equator, at_pole = grey(), grey()
    at_equator[H // 2] += 20
    at_pole[0] += 20
    assert float(ws_ssim(grey(), at_equator)) < 0.93 < float(ssim(grey(), at_equator)) < 0.95
    assert 0.98 < float(ws_ssim(grey(), at_pole)) < 1


@pytest.mark.parametrize(("metric", "size", "known"), [(ssim, (11, 30), True), (ssim, (10, 30), False)])
def test_ssim_of_a_small_picture_is_nan(metric, size: tuple[int, int], known: bool) -> None:
    assert math.isnan(float(metric(grey(*size), grey(*size)))) != known


@pytest.mark.parametrize(("height", "known"), [(11, True), (10, False)])
def test_ws_ssim_of_a_small_picture_is_nan(height: int, known: bool) -> None:
    x = grey(height, 2 * height)
    assert math.isnan(float(ws_ssim(x, x))) != known


def test_ms_ssim_of_equal_and_of_different_pictures() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (176, 352), dtype=np.uint8)
    assert float(ms_ssim(x, x)) == 1.0
    assert 0 <= float(ms_ssim(x, 255 - x)) < 0.5


@pytest.mark.parametrize(("size", "known"), [((160, 320), False), ((162, 324), True), ((8, 16), False)])
def test_ms_ssim_of_a_small_picture_is_nan(size: tuple[int, int], known: bool) -> None:
    assert math.isnan(float(ms_ssim(grey(*size), grey(*size)))) != known


@pytest.mark.parametrize("offset", [5, 100])
def test_ms_ssim_of_flat_pictures_is_that_of_their_light(offset: int) -> None:
    x = grey(*LARGE)
    light = (2 * 100 * (100 + offset) + 2.55**2) / (100**2 + (100 + offset) ** 2 + 2.55**2)
    assert float(ms_ssim(x, x + np.uint8(offset))) == pytest.approx(light**0.1333, abs=1e-6)


@pytest.mark.parametrize("size", [(176, 352), (177, 353), (170, 341)])
def test_ms_ssim_agrees_with_pytorch_msssim_at_even_and_odd_sizes(size: tuple[int, int]) -> None:
    x, x_hat = pictures(2, *size)
    expected = reference_ms_ssim(*(torch.from_numpy(each)[:, None] for each in (x, x_hat)), 255, size_average=False)
    assert expected.max() < 0.97
    np.testing.assert_allclose(ms_ssim(x, x_hat, peak=255), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("error", [1, 20])
def test_float32_is_no_different(error: int) -> None:
    """Not by a thousandth of a decibel, be the pictures alike or not, flat or not."""
    x = texture(*LARGE)
    x[:40] = 200  # float32's weak side: no variance, far from 0
    x_hat = np.clip(x + np.random.default_rng(2).integers(-error, error + 1, x.shape), 0, 255).astype(np.uint8)
    single, double = structure(x, x_hat), structure(x.astype(float), x_hat.astype(float), peak=255)
    decibels = [[-10 * math.log10(1 - float(each)) for each in found] for found in (single, double)]
    assert decibels[0] == pytest.approx(decibels[1], abs=1e-3)
    assert single != double


def test_the_three_together_are_the_three_alone() -> None:
    x, x_hat = texture(*LARGE), texture(*LARGE, seed=1)
    found = structure(x, x_hat)
    alone = [float(metric(x, x_hat)) for metric in (ssim, ms_ssim, ws_ssim)]
    assert [float(each) for each in found] == pytest.approx(alone, abs=1e-12)
    assert math.isnan(float(structure(x, x_hat, multi_scale=False).ms_ssim))
    small = structure(grey(), grey())
    assert (float(small.ssim), float(small.ws_ssim)) == (1.0, 1.0) and math.isnan(float(small.ms_ssim))
    assert all(math.isnan(float(each)) for each in structure(grey(8, 16), grey(8, 16)))


@pytest.mark.parametrize("metric", [ssim, ms_ssim, ws_ssim])
def test_batches_dtypes_and_torch_agree(metric) -> None:
    x, x_hat = noise(2, 3, *LARGE)
    values = metric(x, x_hat)
    assert values.shape == (3,) and values.dtype == np.float64
    one_by_one = [float(metric(a, b)) for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(values, one_by_one, rtol=0, atol=1e-12)
    np.testing.assert_allclose(metric(torch.from_numpy(x), torch.from_numpy(x_hat)), values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(metric(x / 255.0, x_hat / 255.0), values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(metric(x / 255.0 * 100, x_hat / 255.0 * 100, peak=100.0), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", [ssim, ms_ssim, ws_ssim, structure])
def test_shapes_must_agree(metric) -> None:
    with pytest.raises(ValueError, match="both must be the same"):
        metric(grey(), grey(H, W - 2))


@pytest.mark.parametrize("metric", [ws_ssim, structure])
def test_only_an_erp_lies_on_the_sphere(metric) -> None:
    with pytest.raises(ValueError, match="twice the height"):
        metric(grey(64, 64), grey(64, 64))


@pytest.mark.parametrize("polar", [True, False])
def test_ws_ssim_agrees_with_ssim360(polar: bool) -> None:
    """FFmpeg winds a tape around the sphere and takes boxes of 8 x 8 on it; where the error lies tells more."""
    height, width = 256, 512
    picture = texture(height, width)
    lat = np.abs(np.linspace(-90, 90, height))[:, None]
    here = lat > 50 if polar else lat < 40
    x_hat = np.where(here, np.clip(picture + (texture(height, width, seed=1) - 128.0), 0, 255), picture)
    x_hat = np.round(x_hat).astype(np.uint8)
    theirs = float(filtered("ssim360", "use_tape=1", x_hat, picture).metadata["lavfi.ssim360.Y"])
    assert float(ws_ssim(picture, x_hat)) == pytest.approx(theirs, abs=0.03)
    assert abs(float(ssim(picture, x_hat)) - theirs) > 0.06
