"""What counts as an error: equal areas, ERP pixels' areas, structure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepsphere_codec.sphere import HealpixGrid, erp_directions
from deepsphere_codec.sphere.interpolation import stencil
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import DISTORTIONS, ErpError, make_distortion, squared_error

EQUATOR, POLAR = PatchGrid(64, 4, 0, 0, 64), PatchGrid(64, 0, 0, 0, 64)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_what_is_equal_has_no_error(kind):
    patch = PatchGrid(128, 4, 0, 0, 128)
    x = torch.rand(2, patch.npix, 3)
    assert make_distortion(kind, patch)(x, x).abs().max() < 1e-6


@pytest.mark.parametrize("patch", [EQUATOR, POLAR])
def test_a_constant_error_counts_alike_in_nodes_and_in_pixels(patch):
    x, offset = torch.rand(2, patch.npix, 3), torch.tensor([0.1, -0.2, 0.3])
    expected = offset.square().expand(2, 3)
    torch.testing.assert_close(squared_error(x, x + offset), expected)
    torch.testing.assert_close(ErpError(patch, 256)(x, x + offset), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("patch", [EQUATOR, POLAR, PatchGrid(64, 9, 0, 0, 64)])
def test_pixels_are_those_of_the_resampler_and_weigh_their_area(patch):
    """Against the whole sphere's stencil in float64: the picture of an error that is noise."""
    error = torch.zeros(12 * 64**2, 3)
    error[patch.nodes] = torch.randn(patch.npix, 3)
    rows = stencil(erp_directions(128, 256).reshape(-1, 3), 64)
    on_face = rows.index.numpy() // 64**2 == patch.face
    x, y = rows.index.numpy() % 64, rows.index.numpy() // 64 % 64
    inside = on_face.all(1) & (x.max(1) - x.min(1) == 3) & (y.max(1) - y.min(1) == 3)
    picture = rows.apply(error)[torch.from_numpy(inside)].double()
    weights = np.cos((np.arange(128) + 0.5 - 64) * math.pi / 128).repeat(256)[inside]
    expected = (torch.from_numpy(weights)[:, None] * picture.square()).sum(0) / weights.sum()
    found = ErpError(patch, 256)(torch.zeros(1, patch.npix, 3), error[patch.nodes][None])[0]
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0)


def test_structure_counts_more_than_brightness():
    """An offset and noise of the same squared error."""
    grid = PatchGrid(128, 4, 0, 0, 128)
    d = torch.from_numpy(grid.centers).float()
    x = 0.5 + 0.2 * torch.sin(25 * d)[None]
    structural = make_distortion("ms-ssim", grid)
    noise = 0.05 * torch.randn_like(x)
    assert (structural(x, x + noise) > 5 * structural(x, x + 0.05)).all()


def test_patches_all_have_pixels():
    assert len(HealpixGrid.cached(64).face_xy[0]) == 12 * 64**2
    for face in range(12):
        for x0 in (0, 128):
            assert ErpError(PatchGrid(256, face, x0, 0, 128), 1024).weights.sum() == pytest.approx(1, abs=1e-4)
