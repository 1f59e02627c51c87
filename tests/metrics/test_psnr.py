"""Metrics against what they are by hand: a constant offset, one row, one pole, equal pictures."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from deepsphere_codec.metrics.psnr import (
    MAX_DB,
    SPHERE_POINTS,
    Planes,
    capped,
    fibonacci_counts,
    psnr,
    row_weights,
    s_psnr_nn,
    ws_psnr,
    ws_psnr_yuv,
)

DECIBEL_METRICS = [psnr, ws_psnr, s_psnr_nn]
H, W = 64, 128


def grey(height: int = H, width: int = W) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def decibels(mse: float, peak: float = 255.0) -> float:
    return 10 * math.log10(peak**2 / mse)


@pytest.mark.parametrize("metric", DECIBEL_METRICS)
def test_constant_offset(metric) -> None:
    # every pixel is wrong by 5, whatever the weights
    assert float(metric(grey(), grey() + 5)) == pytest.approx(decibels(25), abs=1e-9)
    assert float(metric(grey() + 5, grey())) == pytest.approx(decibels(25), abs=1e-9)


@pytest.mark.parametrize("metric", DECIBEL_METRICS)
def test_equal_pictures_are_infinitely_good(metric) -> None:
    assert float(metric(grey(), grey())) == math.inf
    assert float(capped(metric(grey(), grey()))) == MAX_DB


@pytest.mark.parametrize("row", [0, 1, H // 2, H - 1])
def test_an_error_in_one_row(row: int) -> None:
    x_hat = grey()
    x_hat[row] += 8
    weights = [math.cos((i + 0.5 - H / 2) * math.pi / H) for i in range(H)]
    assert float(ws_psnr(grey(), x_hat)) == pytest.approx(decibels(64 * weights[row] / sum(weights)), abs=1e-9)
    assert float(psnr(grey(), x_hat)) == pytest.approx(decibels(64 / H), abs=1e-9)
    # the exact area of the row, a zone of the sphere; the points follow it to a few in 655,362
    area = (math.cos(row * math.pi / H) - math.cos((row + 1) * math.pi / H)) / 2
    assert float(s_psnr_nn(grey(), x_hat)) == pytest.approx(decibels(64 * area), abs=0.01)


def test_an_error_at_one_pole_counts_less_on_the_sphere() -> None:
    x_hat = grey()
    x_hat[0, 0] += 64
    weight = math.cos((0.5 - H / 2) * math.pi / H) / sum(math.cos((i + 0.5 - H / 2) * math.pi / H) for i in range(H))
    assert float(ws_psnr(grey(), x_hat)) == pytest.approx(decibels(64**2 * weight / W), abs=1e-9)
    assert float(ws_psnr(grey(), x_hat)) > float(psnr(grey(), x_hat)) + 10
    assert float(s_psnr_nn(grey(), x_hat)) > float(psnr(grey(), x_hat)) + 10


def test_yuv_weighs_the_planes_decibels_six_one_one() -> None:
    planes = Planes(grey(), grey(H // 2, W // 2), grey(H // 2, W // 2))
    coded = Planes(planes.y + 2, planes.u + 4, planes.v + 8)
    expected = (6 * decibels(4) + decibels(16) + decibels(64)) / 8
    assert float(ws_psnr_yuv(planes, coded)) == pytest.approx(expected, abs=1e-9)


def test_equal_chroma_counts_a_hundred_decibels() -> None:
    planes = Planes(grey(), grey(H // 2, W // 2), grey(H // 2, W // 2))
    coded = planes._replace(y=planes.y + 2)
    assert float(ws_psnr_yuv(planes, coded)) == pytest.approx((6 * decibels(4) + 200) / 8, abs=1e-9)
    assert float(ws_psnr_yuv(planes, planes)) == MAX_DB


def test_points_are_even_on_the_sphere() -> None:
    counts = fibonacci_counts(H, W)
    assert counts.sum() == SPHERE_POINTS
    shares = counts.reshape(H, W).sum(axis=1) / SPHERE_POINTS
    np.testing.assert_allclose(shares, row_weights(H), atol=2e-4)
    columns = counts.reshape(H, W).sum(axis=0)
    assert np.ptp(columns) <= 0.001 * SPHERE_POINTS / W + 4


@pytest.mark.parametrize("metric", DECIBEL_METRICS)
def test_batches_dtypes_and_torch_agree(metric) -> None:
    rng = np.random.default_rng(0)
    x, x_hat = rng.integers(0, 256, (2, 3, 176, 352), dtype=np.uint8)
    values = metric(x, x_hat)
    assert values.shape == (3,) and values.dtype == np.float64
    one_by_one = [float(metric(a, b)) for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(values, one_by_one, rtol=1e-12)
    np.testing.assert_allclose(metric(torch.from_numpy(x), torch.from_numpy(x_hat)), values, rtol=1e-12)
    np.testing.assert_allclose(metric(x / 255.0, x_hat / 255.0), values, rtol=1e-9)
    np.testing.assert_allclose(metric(x / 255.0 * 100, x_hat / 255.0 * 100, peak=100.0), values, rtol=1e-9)


@pytest.mark.parametrize("metric", DECIBEL_METRICS)
def test_shapes_must_agree(metric) -> None:
    with pytest.raises(ValueError, match="both must be the same"):
        metric(grey(), grey(H, W - 2))


@pytest.mark.parametrize("metric", [ws_psnr, s_psnr_nn])
def test_only_an_erp_is_weighted(metric) -> None:
    with pytest.raises(ValueError, match="twice the height"):
        metric(grey(64, 64), grey(64, 64))


def test_ws_psnr_measures_at_least_twenty_frames_a_second() -> None:
    planes = Planes(grey(512, 1024), grey(256, 512), grey(256, 512))
    coded = Planes(*(plane + 1 for plane in planes))
    ws_psnr_yuv(planes, coded)
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        ws_psnr_yuv(planes, coded)
        best = min(best, time.perf_counter() - start)
    assert best < 1 / 20
