"""Metrics on the sphere against what they are by hand, and by brute force."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deepsphere_codec.metrics.psnr import SPHERE_POINTS, fibonacci_counts, psnr, row_weights
from deepsphere_codec.metrics.sphere import (
    cpp_psnr,
    erp_weights,
    fibonacci_positions,
    fibonacci_weights,
    parabolic_weights,
    pole_error,
    s_psnr_i,
    seam_error,
)
from deepsphere_codec.sphere import erp_directions

RESAMPLED = [s_psnr_i, cpp_psnr]
EXCESSES: list[Callable[..., np.ndarray]] = [seam_error, pole_error]
H, W = 64, 128  # one size nearly everywhere: the weights of S-PSNR-I take a second to make


def grey(height: int = H, width: int = W) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def decibels(mse: float, peak: float = 255.0) -> float:
    return 10 * math.log10(peak**2 / mse)


def cubic(t: np.ndarray | float) -> np.ndarray:
    """Keys' kernel, a = -1/2, piece by piece."""
    t = np.abs(t)
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, inner, np.where(t < 2, outer, 0.0))


def read(picture: np.ndarray, row: float, column: float) -> float:
    """A bicubic value, tap by tap."""
    height, width = picture.shape
    value = 0.0
    for i in range(math.floor(row) - 1, math.floor(row) + 3):
        for j in range(math.floor(column) - 1, math.floor(column) + 3):
            if 0 <= i < height:
                pixel = picture[i, j % width]
            else:  # over the pole
                pixel = picture[-1 - i if i < 0 else 2 * height - 1 - i, (j + width // 2) % width]
            value += cubic(row - i) * cubic(column - j) * pixel
    return float(value)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_constant_offset(metric) -> None:
    assert float(metric(grey(), grey() + 5)) == pytest.approx(decibels(25), abs=1e-5)
    assert float(metric(grey() + 5, grey())) == pytest.approx(decibels(25), abs=1e-5)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_equal_pictures_are_infinitely_good(metric) -> None:
    assert float(metric(grey(), grey())) == math.inf


def interpolated_row(row: int, colatitude: np.ndarray) -> np.ndarray:
    """A row of ones, and its mirror images beyond the poles, at angles from the north pole."""
    place = colatitude / np.pi * H - 0.5
    return np.sum([cubic(place - i) for i in (row, -1 - row, 2 * H - 1 - row)], axis=0)


@pytest.mark.parametrize("row", [0, 1, H // 2, H - 1])
def test_an_error_in_one_row(row: int) -> None:
    x_hat = grey()
    x_hat[row] += 8
    # over the sphere, a sine for each angle
    colatitude = (np.arange(100_000) + 0.5) / 100_000 * np.pi
    mse = np.average(64 * interpolated_row(row, colatitude) ** 2, weights=np.sin(colatitude))
    assert float(s_psnr_i(grey(), x_hat)) == pytest.approx(decibels(mse), abs=0.001)
    # over the rows of the parabolic map, as many pixels as lie inside in each
    y = (np.arange(H) + 0.5) / H - 0.5
    inside = 2 * np.floor(W / 2 * (1 - 4 * y**2) + 0.5)
    mse = np.average(64 * interpolated_row(row, np.pi / 2 + 3 * np.arcsin(y)) ** 2, weights=inside)
    assert float(cpp_psnr(grey(), x_hat)) == pytest.approx(decibels(mse), abs=1e-5)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_an_error_at_one_pole_counts_less_on_the_sphere(metric) -> None:
    x_hat = grey()
    x_hat[0, 0] += 64
    assert float(metric(grey(), x_hat)) > float(psnr(grey(), x_hat)) + 10


@pytest.mark.parametrize(("metric", "tolerance"), [(s_psnr_i, 1e-5), (cpp_psnr, 0.005)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_smooth_error_has_its_mean_square_over_the_sphere(metric, tolerance: float, axis: int) -> None:
    error = 0.1 * erp_directions(H, W)[..., axis]  # a coordinate's square has the mean 1/3
    assert float(metric(np.zeros((H, W)), error)) == pytest.approx(decibels(0.01 / 3, 1.0), abs=tolerance)


def test_the_points_are_those_of_s_psnr_nn() -> None:
    rows, columns = (np.floor(each + 0.5).astype(int) for each in fibonacci_positions(H, W))
    np.testing.assert_array_equal(np.bincount(rows * W + columns, minlength=H * W), fibonacci_counts(H, W))


def test_values_at_the_points_by_brute_force() -> None:
    picture = noise(H, W).astype(float)
    rows, columns = fibonacci_positions(H, W)
    # by the poles, by the seam, anywhere
    seam = np.flatnonzero(np.minimum(columns + 0.5, W - 0.5 - columns) < 0.5)
    chosen = np.r_[:20, SPHERE_POINTS - 20 : SPHERE_POINTS, seam[::400], 1000:SPHERE_POINTS:20_000]
    found = (fibonacci_weights(H, W) @ picture.reshape(-1))[chosen]
    np.testing.assert_allclose(found, [read(picture, rows[k], columns[k]) for k in chosen], rtol=0, atol=1e-4)


def test_cpp_psnr_by_brute_force() -> None:
    height, width = 8, 16
    x, x_hat = (noise(height, width, seed=seed).astype(float) for seed in (1, 2))
    squares = []
    for i in range(height):
        for j in range(width):
            lat = 3 * math.asin(0.5 - (i + 0.5) / height)
            lon = 2 * math.pi * ((j + 0.5) / width - 0.5) / (2 * math.cos(2 * lat / 3) - 1)
            if abs(lon) <= math.pi:
                place = (0.5 - lat / math.pi) * height - 0.5, (lon / (2 * math.pi) + 0.5) * width - 0.5
                squares.append((read(x, *place) - read(x_hat, *place)) ** 2)
    assert float(cpp_psnr(x, x_hat, peak=255)) == pytest.approx(decibels(sum(squares) / len(squares)), abs=1e-5)


def test_two_thirds_of_the_parabolic_map_lie_inside() -> None:
    assert parabolic_weights(H, W).across.shape[0] / (H * W) == pytest.approx(2 / 3, abs=0.005)


def test_weights_are_made_once() -> None:
    assert fibonacci_weights(H, W) is fibonacci_weights(H, W)
    assert parabolic_weights(H, W) is parabolic_weights(H, W)


def test_one_row_cannot_be_interpolated() -> None:
    for metric in RESAMPLED:
        with pytest.raises(ValueError, match="at least 2 rows"):
            metric(grey(1, 2), grey(1, 2))
    with pytest.raises(ValueError, match="at least 2 rows"):
        erp_weights(np.zeros(1), np.zeros(1), 1, 2, lambda fraction: np.ones((1, 2)))


@pytest.mark.parametrize("metric", EXCESSES)
def test_a_constant_offset_favours_no_place(metric) -> None:
    assert float(metric(grey(), grey() + 5)) == pytest.approx(0, abs=1e-9)
    assert float(metric(grey(), grey())) == 0


@pytest.mark.parametrize("metric", EXCESSES)
def test_an_error_everywhere_alike_favours_no_place(metric) -> None:
    x_hat = 100 + np.random.default_rng(0).normal(0, 5, (20, H, W))
    assert abs(metric(np.full_like(x_hat, 100.0), x_hat).mean()) < 0.1


@pytest.mark.parametrize("columns", [1, 4])
def test_seam_error_is_a_ratio_of_mean_squares(columns: int) -> None:
    x_hat = grey() + 1
    x_hat[:, :columns] += 2
    x_hat[:, -columns:] += 2
    assert float(seam_error(grey(), x_hat, columns=columns)) == pytest.approx(10 * math.log10(9), abs=1e-9)
    # one side alone
    x_hat[:, :columns] -= 2
    assert float(seam_error(grey(), x_hat, columns=columns)) == pytest.approx(10 * math.log10(5), abs=1e-9)


def test_seam_error_of_errors_in_one_place_only() -> None:
    x_hat = grey()
    x_hat[:, -1] += 1
    assert float(seam_error(grey(), x_hat)) == math.inf
    assert float(seam_error(grey(), np.roll(x_hat, 10, axis=1))) == -math.inf


def test_seam_error_weighs_rows_by_their_area() -> None:
    x_hat = grey()
    x_hat[0, :4] += 10  # at the pole, by the seam
    x_hat[H // 2, W // 2] += 10  # at the equator, inside
    weights = row_weights(H)
    expected = 10 * math.log10((4 * weights[0] / 8) / (weights[H // 2] / (W - 8)))
    assert float(seam_error(grey(), x_hat)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(-3, None)])
def test_pole_error_is_a_ratio_of_mean_squares_over_areas(rows: slice) -> None:
    x_hat = grey() + 2
    x_hat[rows] += 4
    weights = row_weights(H)
    cap = np.r_[
        weights[:10], weights[-10:]
    ]  # 64 rows of 2.8125 degrees: the tenth centre is 26.7 degrees from the pole
    expected = 10 * math.log10((4 * cap.sum() + 32 * weights[rows].sum()) / cap.sum() / 4)
    assert float(pole_error(grey(), x_hat, within=28)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("row", "expected"), [(0, math.inf), (9, math.inf), (10, -math.inf), (H // 2, -math.inf)])
def test_pole_error_of_an_error_in_one_row(row: int, expected: float) -> None:
    x_hat = grey()
    x_hat[row] += 1
    assert float(pole_error(grey(), x_hat, within=28)) == expected


def test_pictures_too_small_have_no_seam_and_no_poles() -> None:
    assert math.isnan(float(seam_error(grey(4, 8), grey(4, 8))))
    assert math.isnan(float(pole_error(grey(2, 4), grey(2, 4))))


def test_places_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        seam_error(grey(), grey(), columns=0)
    for within in (0.0, 90.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 90"):
            pole_error(grey(), grey(), within=within)


@pytest.mark.parametrize("metric", [*RESAMPLED, *EXCESSES])
def test_batches_dtypes_and_torch_agree(metric) -> None:
    x, x_hat = noise(2, 3, H, W)
    values = metric(x, x_hat)
    assert values.shape == (3,) and values.dtype == np.float64
    one_by_one = [float(metric(a, b)) for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(values, one_by_one, rtol=1e-12)
    np.testing.assert_allclose(metric(torch.from_numpy(x), torch.from_numpy(x_hat)), values, rtol=1e-12)
    np.testing.assert_allclose(metric(x / 255.0, x_hat / 255.0), values, rtol=1e-6)


@pytest.mark.parametrize("metric", [*RESAMPLED, *EXCESSES])
def test_shapes_must_agree(metric) -> None:
    with pytest.raises(ValueError, match="both must be the same"):
        metric(grey(), grey(H, W - 2))


@pytest.mark.parametrize("metric", [*RESAMPLED, *EXCESSES])
def test_only_an_erp_lies_on_the_sphere(metric) -> None:
    with pytest.raises(ValueError, match="twice the height"):
        metric(grey(64, 64), grey(64, 64))
