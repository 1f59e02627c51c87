"""Smaller ERP pictures and back: exact where it can be, and no worse at the seam and the poles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.sphere import ErpScaler, erp_directions
from deepsphere_codec.sphere.pixels import plane_stencil


def waves(height: int, width: int) -> torch.Tensor:
    """A smooth pattern on the sphere, one channel."""
    x, y, z = np.moveaxis(erp_directions(height, width), -1, 0)
    return torch.from_numpy(0.5 + 0.2 * np.sin(4 * x + 1) + 0.2 * np.sin(5 * y) * np.cos(3 * z))[..., None].float()


def test_each_pixel_is_a_weighted_mean() -> None:
    stencil = plane_stencil(48, 96, 32, 64)
    torch.testing.assert_close(stencil.weights.sum(1), torch.ones(48 * 96))
    assert 0 <= int(stencil.index.min()) and int(stencil.index.max()) == 32 * 64 - 1


def test_at_the_same_size_nothing_changes() -> None:
    picture = torch.rand(16, 32, 2)
    scaler = ErpScaler(16, 32, 16, 32)
    torch.testing.assert_close(scaler.to_erp(picture.reshape(-1, 2)), picture)
    torch.testing.assert_close(scaler.to_sphere(picture, 0), picture.reshape(-1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(24, 48), (40, 80)])
def test_a_smooth_picture_comes_back(size: tuple[int, int]) -> None:
    picture = waves(64, 128)
    scaler = ErpScaler(64, 128, *size)
    read, fitted = (scaler.to_erp(scaler.to_sphere(picture, iterations)) - picture for iterations in (0, 3))
    assert fitted.square().mean() < read.square().mean(), "the fit is nearer than reading at the centres"
    assert fitted.abs().max() < 0.03


def test_the_seam_and_the_poles_are_like_the_rest() -> None:
    picture = waves(64, 128)
    scaler = ErpScaler(64, 128, 24, 48)
    error = (scaler.to_erp(scaler.to_sphere(picture)) - picture)[..., 0].square()
    assert error[:, [0, -1]].mean() < 3 * error.mean()
    assert error[[0, -1]].mean() < 3 * error.mean()


def test_rolling_the_picture_rolls_the_smaller_one() -> None:
    picture = torch.rand(32, 64, 1)
    scaler = ErpScaler(32, 64, 16, 32)
    rolled = scaler.to_sphere(picture.roll(2, dims=1)).unflatten(0, (16, 32))
    torch.testing.assert_close(rolled, scaler.to_sphere(picture).unflatten(0, (16, 32)).roll(1, dims=1))


def test_over_the_pole_lies_the_same_row_half_a_turn_further() -> None:
    """A picture turned by half a turn and upside down is the same sphere seen the other way up."""
    picture = torch.rand(32, 64, 1)
    scaler = ErpScaler(32, 64, 16, 32)
    over = scaler.to_sphere(picture.flip(0).roll(32, dims=1)).unflatten(0, (16, 32))
    torch.testing.assert_close(over, scaler.to_sphere(picture).unflatten(0, (16, 32)).flip(0).roll(16, dims=1))
