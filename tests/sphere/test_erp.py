"""Where the pixels of an equirectangular picture lie."""

from __future__ import annotations

import numpy as np
import torch

from deepsphere_codec.sphere import erp_directions
from deepsphere_codec.sphere.erp import erp_area_weights, erp_positions, sample_erp


def sample(picture: np.ndarray, rows: list[float], columns: list[float]) -> np.ndarray:
    tensor = torch.from_numpy(picture).float()
    return sample_erp(tensor, torch.tensor(rows).double(), torch.tensor(columns).double()).numpy()


def test_pixel_centres_are_half_a_pixel_inside() -> None:
    dirs = erp_directions(2, 4)
    lon, lat = np.arctan2(dirs[..., 1], dirs[..., 0]), np.arcsin(dirs[..., 2])
    np.testing.assert_allclose(np.degrees(lon), [[-135, -45, 45, 135]] * 2, atol=1e-12)
    np.testing.assert_allclose(np.degrees(lat), [[45] * 4, [-45] * 4], atol=1e-12)


def test_positions_invert_directions() -> None:
    rows, columns = erp_positions(erp_directions(6, 12), 6, 12)
    np.testing.assert_allclose(rows, np.repeat(np.arange(6)[:, None], 12, axis=1), atol=1e-12)
    np.testing.assert_allclose(columns, np.repeat(np.arange(12)[None], 6, axis=0), atol=1e-12)


def test_positions_of_poles_and_seam() -> None:
    rows, columns = erp_positions([[0, 0, 1], [0, 0, -1], [-1, 0, 0], [-1, -0.0, 0], [1, 0, 0]], 8, 16)
    np.testing.assert_allclose(rows, [-0.5, 7.5, 3.5, 3.5, 3.5], atol=1e-12)
    np.testing.assert_allclose(columns[2:], [15.5, -0.5, 7.5], atol=1e-12)


def test_area_weights() -> None:
    weights = erp_area_weights(512)
    np.testing.assert_allclose(weights[0], np.sin(0.5 * np.pi / 512), rtol=1e-10)
    np.testing.assert_allclose(weights.sum() * np.pi / 512, 2, rtol=1e-5)  # the integral of cos over -90 .. 90 degrees


def test_sampling_at_pixels_gives_the_pixels() -> None:
    picture = np.random.default_rng(0).random((6, 12, 2))
    found = sample(picture, [0, 5, 3, 0], [0, 11, 7, 11])
    np.testing.assert_allclose(found, picture[[0, 5, 3, 0], [0, 11, 7, 11]], atol=1e-5)


def test_sampling_wraps_at_180_degrees() -> None:
    picture = np.random.default_rng(0).random((8, 16, 1))
    rows, columns = [3.2, 3.2, 4.0, 3.7], [-0.5, 15.5, 15.3, -0.1]
    turned = sample(np.roll(picture, 8, axis=1), rows, [7.5, 7.5, 7.3, 7.9])
    np.testing.assert_allclose(sample(picture, rows, columns), turned, atol=1e-5)


def test_sampling_goes_straight_over_the_poles() -> None:
    """Over the pole lies the same row half a turn further: both sides see the same value there."""
    picture = np.random.default_rng(0).random((8, 16, 1))
    for row in (-0.5, 7.5):
        here, there = sample(picture, [row, row], [3.0, 11.0])
        np.testing.assert_allclose(here, there, atol=1e-5)
    smooth = erp_directions(32, 64)
    np.testing.assert_allclose(sample(smooth, [-0.5, 31.5], [10, 10]), [[0, 0, 1], [0, 0, -1]], atol=2e-3)
