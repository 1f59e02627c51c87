"""Views against brute force, and against FFmpeg's v360 and psnr."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ffmpeg_filters import filtered
from scipy.ndimage import gaussian_filter

from deepsphere_codec.metrics.psnr import MAX_DB, psnr
from deepsphere_codec.metrics.sphere import erp_weights
from deepsphere_codec.metrics.structure import ssim
from deepsphere_codec.metrics.viewports import (
    CUBE,
    ViewDirection,
    Viewport,
    bilinear,
    cube_viewports,
    render_viewport,
    viewport_psnr,
    viewport_ssim,
    viewport_weights,
)
from deepsphere_codec.sphere import erp_directions, viewport_directions
from deepsphere_codec.sphere.erp import erp_positions

H, W = 64, 128
OBLIQUE = Viewport(30.0, 20.0, 70.0, (40, 60))
BEHIND = Viewport(-175.0, -60.0, 100.0, (30, 30))


def grey(height: int = H, width: int = W) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def texture(height: int, width: int, seed: int = 0, sigma: float = 2.0) -> np.ndarray:
    """Smooth noise without a seam, between 28 and 228."""
    flat = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), sigma, mode=("nearest", "wrap"))
    return np.round(128 + 100 * flat / np.abs(flat).max()).astype(np.uint8)


def decibels(mse: float) -> float:
    return 10 * math.log10(255**2 / mse)


def test_constant_offset() -> None:
    for viewports in (None, [OBLIQUE, BEHIND]):
        scores = viewport_psnr(grey(), grey() + 5, viewports)
        assert scores.per_viewport.shape == (len(viewports or range(6)),)
        np.testing.assert_allclose(scores.per_viewport, decibels(25), rtol=0, atol=1e-5)
        assert float(scores.mean) == pytest.approx(decibels(25), abs=1e-5)
        expected = (2 * 100 * 105 + 2.55**2) / (100**2 + 105**2 + 2.55**2)
        np.testing.assert_allclose(viewport_ssim(grey(), grey() + 5, viewports).per_viewport, expected, atol=1e-6)


def test_equal_pictures() -> None:
    x = texture(H, W)
    assert viewport_psnr(x, x).per_viewport.tolist() == [math.inf] * 6
    assert float(viewport_psnr(x, x).mean) == MAX_DB
    assert viewport_ssim(x, x).per_viewport.tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("view", "row", "column"),
    [(0, 32, 64), (1, 32, 96), (2, 32, 0), (2, 32, 124), (3, 32, 32), (4, 1, 5), (5, 62, 77)],
)
def test_an_error_is_seen_in_the_view_that_looks_there(view: int, row: int, column: int) -> None:
    """Front, right, back on either side of the seam, left, and by the poles, where not every ERP pixel is looked at."""
    x_hat = grey()
    x_hat[row, column : column + 4] += 50
    scores = viewport_psnr(grey(), x_hat)
    assert [math.isfinite(each) for each in scores.per_viewport] == [k == view for k in range(6)]
    assert float(scores.mean) == pytest.approx((scores.per_viewport[view] + 5 * MAX_DB) / 6)
    assert (viewport_ssim(grey(), x_hat).per_viewport < 1 - 1e-6).tolist() == [k == view for k in range(6)]


def test_an_error_in_the_first_row_is_seen_as_a_disk() -> None:
    x_hat = grey()
    x_hat[0] += 64
    scores = viewport_psnr(grey(), x_hat)
    # whole to half a pixel from the pole, fading out over one more; a ring's area on the view's plane of 2 x 2
    angle = (np.arange(20_000) + 0.5) / 20_000 * 1.5 * math.pi / H
    error = 64 * np.clip(1.5 - angle / math.pi * H, 0, 1)
    ring = 2 * math.pi * np.sin(angle) / np.cos(angle) ** 3 * (1.5 * math.pi / H / 20_000)
    fine = Viewport(0.0, 90.0, 90.0, (600, 600))
    found = float(viewport_psnr(grey(), x_hat, [fine]).mean)
    assert found == pytest.approx(decibels(float(error**2 @ ring) / 4), abs=0.02)
    assert [math.isfinite(each) for each in scores.per_viewport] == [False] * 4 + [True, False]


@pytest.mark.parametrize("viewport", [*cube_viewports(W), OBLIQUE, BEHIND])
def test_views_of_a_smooth_picture(viewport: Viewport) -> None:
    directions = np.moveaxis(erp_directions(H, W), -1, 0)
    expected = viewport_directions(viewport.yaw, viewport.pitch, 0, viewport.fov, viewport.size)
    found = render_viewport(directions, viewport)
    assert found.shape == (3, *viewport.size)
    # bilinear: a pixel's width squared, over eight, in either direction
    np.testing.assert_allclose(found, np.moveaxis(expected, -1, 0), rtol=0, atol=2 * (math.pi / H) ** 2 / 8)


def test_views_by_brute_force() -> None:
    picture = texture(H, W, sigma=0.5).astype(float)
    directions = viewport_directions(BEHIND.yaw, BEHIND.pitch, 0, BEHIND.fov, BEHIND.size)
    found = render_viewport(picture, BEHIND)
    for i in range(BEHIND.size[0]):
        for j in range(BEHIND.size[1]):
            row, column = (float(each) for each in erp_positions(directions[i, j], H, W))
            top, left = math.floor(row), math.floor(column)
            value = 0.0
            for r in (top, top + 1):
                for c in (left, left + 1):
                    pixel = picture[r, c % W] if r < H else picture[2 * H - 1 - r, (c + W // 2) % W]
                    value += (1 - abs(row - r)) * (1 - abs(column - c)) * pixel
            assert found[i, j] == pytest.approx(value, abs=1e-4)


def test_batches_dtypes_and_torch_agree() -> None:
    x, x_hat = np.random.default_rng(0).integers(0, 256, (2, 3, H, W), dtype=np.uint8)
    for metric in (viewport_psnr, viewport_ssim):
        scores = metric(x, x_hat)
        assert scores.per_viewport.shape == (6, 3) and scores.mean.shape == (3,)
        one_by_one = [float(metric(a, b).mean) for a, b in zip(x, x_hat, strict=True)]
        np.testing.assert_allclose(scores.mean, one_by_one, rtol=1e-12)
        np.testing.assert_allclose(metric(torch.from_numpy(x), torch.from_numpy(x_hat)).mean, scores.mean, rtol=1e-12)
        np.testing.assert_allclose(metric(x / 255.0, x_hat / 255.0).mean, scores.mean, rtol=1e-5)


def test_views_have_the_pixels_of_the_equator() -> None:
    assert cube_viewports(W) == tuple(look.viewport(W) for look in CUBE)
    assert {view.size for view in cube_viewports(W)} == {(W // 4, W // 4)}
    assert ViewDirection(10.0, 20.0, 45.0).viewport(1024) == Viewport(10.0, 20.0, 45.0, (128, 128))
    assert ViewDirection(0.0, 0.0, 0.1).viewport(W).size == (1, 1)


def test_weights_are_made_once() -> None:
    assert viewport_weights(OBLIQUE, H, W) is viewport_weights(Viewport(*OBLIQUE), H, W)


@pytest.mark.parametrize("metric", [viewport_psnr, viewport_ssim])
def test_what_cannot_be_viewed_is_refused(metric) -> None:
    with pytest.raises(ValueError, match="both must be the same"):
        metric(grey(), grey(H, W - 2))
    with pytest.raises(ValueError, match="twice the height"):
        metric(grey(64, 64), grey(64, 64))
    with pytest.raises(ValueError, match="no viewports"):
        metric(grey(), grey(), [])
    with pytest.raises(ValueError, match="less than 180"):
        metric(grey(), grey(), [OBLIQUE._replace(fov=180.0)])


def v360(picture: np.ndarray, viewport: Viewport) -> np.ndarray:
    height, width = viewport.size
    up = math.degrees(2 * math.atan(math.tan(math.radians(viewport.fov / 2)) * height / width))
    view = (
        f"input=e:output=flat:w={width}:h={height}:h_fov={viewport.fov}:v_fov={up}"
        f":yaw={viewport.yaw}:pitch={viewport.pitch}:interp=linear"
    )
    return filtered("v360", view, picture).to_ndarray()


@pytest.mark.parametrize("viewport", [*cube_viewports(256), OBLIQUE, BEHIND])
def test_views_agree_with_v360(viewport: Viewport) -> None:
    """FFmpeg puts the centres of an ERP's outermost pixels on its edges, and drops what is behind the point."""
    height, width = 128, 256
    picture = texture(height, width, sigma=0.7)
    directions = viewport_directions(viewport.yaw, viewport.pitch, 0, viewport.fov, viewport.size)
    rows, columns = erp_positions(directions.reshape(-1, 3), height, width)
    rows, columns = (rows + 0.5) / height * (height - 1), (columns + 0.5) / width * (width - 1)
    expected = erp_weights(rows, columns, height, width, bilinear) @ picture.reshape(-1).astype(float)
    difference = expected.reshape(viewport.size) - v360(picture, viewport)
    assert -0.1 < difference.min() and difference.max() < 1.1


def test_viewport_psnr_and_ssim_agree_with_those_of_v360() -> None:
    picture = texture(256, 512)
    blurred = np.round(gaussian_filter(picture.astype(float), 1.5, mode=("nearest", "wrap"))).astype(np.uint8)
    found, similar = viewport_psnr(picture, blurred), viewport_ssim(picture, blurred)
    for k, viewport in enumerate(cube_viewports(512)):
        view, view_hat = v360(picture, viewport), v360(blurred, viewport)
        theirs = float(filtered("psnr", "", view_hat, view).metadata["lavfi.psnr.psnr.y"])
        assert theirs == pytest.approx(float(psnr(view, view_hat)), abs=0.01)
        assert found.per_viewport[k] == pytest.approx(theirs, abs=0.1)
        assert similar.per_viewport[k] == pytest.approx(float(ssim(view, view_hat)), abs=0.003)
