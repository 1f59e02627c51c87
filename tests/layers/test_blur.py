"""The Gaussian on the sphere: how harmonics decay, what stays, no seam where faces meet."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from deepsphere_codec.layers.blur import _STEPS, BLUR_SIGMA, Blur, heat_weights
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid


def node(nside: int) -> float:
    """Width of a node, radians."""
    return math.sqrt(math.pi / 3) / nside


def harmonics(nside: int, degree: int) -> torch.Tensor:
    """Some spherical harmonics of one degree, [1, npix, orders]."""
    x, y, z = HealpixGrid(nside).centers.T
    orders = sorted({0, 1, degree // 2, degree})
    values = [sph_harm_y(degree, order, np.arccos(z), np.arctan2(y, x)).real for order in orders]
    return torch.from_numpy(np.stack(values, -1))[None]


def adjacency(nside: int) -> np.ndarray:
    """The weights as a matrix, read from where a single one goes: [npix, npix]."""
    grid, weights = HealpixGrid(nside), heat_weights(HealpixGrid(nside))
    matrix = np.zeros((grid.npix, grid.npix))
    rows, columns = np.nonzero(grid.neighbors >= 0)
    np.add.at(matrix, (rows, grid.neighbors[rows, columns]), weights[rows, columns])
    assert (weights[grid.neighbors < 0] == 0).all()
    return matrix


@pytest.mark.parametrize("degree", [1, 4, 9, 17, 24, 32])
def test_harmonics_decay_as_under_a_gaussian(degree):
    """exp(-l (l + 1) σ² / 2) is what the Gaussian on the sphere leaves of degree l: the heat kernel."""
    x = harmonics(32, degree)
    y = Blur(HealpixGrid(32)).double()(x)
    truth = math.exp(-degree * (degree + 1) * (BLUR_SIGMA * node(32)) ** 2 / 2)
    assert 0.25 < truth < 1, "degrees that tell something"
    assert ((y * x).sum(1) / (x * x).sum(1) - truth).abs().max() < 0.025
    assert (((y - truth * x).norm(dim=1)) / x.norm(dim=1)).max() < 0.035


@pytest.mark.parametrize("degree", [1, 2, 4, 8])
def test_the_weights_laplacian_is_the_spheres(degree):
    """DeepSphere's weights come to 0.47 to 0.50 of it here, depending on the order."""
    x = harmonics(32, degree)[0].numpy()
    weights, grid = heat_weights(HealpixGrid(32)), HealpixGrid(32)
    flow = (weights[..., None] * (x[:, None] - x[grid.neighbors])).sum(1)
    eigenvalue = (flow * x).sum(0) / (x * x).sum(0) / node(32) ** 2
    assert np.abs(eigenvalue / (degree * (degree + 1)) - 1).max() < 0.012


@pytest.mark.parametrize("nside", [1, 2, 3, 8])
def test_weights_are_symmetric_and_none_is_negative(nside):
    matrix = adjacency(nside)
    assert (matrix == matrix.T).all() and (matrix >= 0).all()


def test_no_frequency_passes_that_a_gaussian_holds_back():
    """Over the whole spectrum, so also for checkerboards, and where nodes are slim, near the poles."""
    matrix = adjacency(8)
    spectrum = np.linalg.eigvalsh(np.diag(matrix.sum(1)) - matrix)
    left = np.prod([1 - step * spectrum for step in _STEPS], axis=0)
    assert np.abs(left - np.exp(-(BLUR_SIGMA**2) / 2 * spectrum)).max() < 0.07
    assert left[spectrum > 4].max() < 0.05 and left.min() > -0.05


@pytest.mark.parametrize("face", [0, 4])
def test_the_kernel_is_alike_everywhere(face):
    """Of each node of a polar and a belt face: as wide inside as at borders, at the pole and at three-face corners."""
    grid = HealpixGrid(16)
    itself = np.flatnonzero(grid.face_xy[0] == face)
    x = torch.zeros(1, grid.npix, len(itself))
    x[0, itself, torch.arange(len(itself))] = 1
    kernel, p = Blur(grid)(x)[0].double(), torch.from_numpy(grid.centers)
    away = torch.arccos((p @ p[itself].t()).clamp(-1, 1)) / node(16)
    width = ((kernel * away.square()).sum(0) / 2).sqrt() / BLUR_SIGMA
    drift = (kernel.t() @ p).div(node(16))
    drift = drift - (drift * p[itself]).sum(1, keepdim=True) * p[itself]
    assert width.min() > 0.995 and width.max() < 1.06 and width.std() < 0.015
    assert drift.norm(dim=1).max() < 0.2, "of a node"
    assert kernel.min() > -1e-6 and (kernel.sum(0) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("grid", [HealpixGrid(6), PatchGrid(64, 1, 16, 32, 16)], ids=["sphere", "patch"])
def test_constants_stay_to_the_last_bit_and_means_to_rounding(grid):
    blur = Blur(grid)
    constant = torch.full((2, grid.npix, 3), 0.7)
    assert torch.equal(blur(constant), constant)
    x = torch.randn(2, grid.npix, 3, dtype=torch.float64)
    assert (blur.double()(x).mean(1) - x.mean(1)).abs().max() < 1e-15 * grid.npix


def test_symmetric():
    a, b = torch.randn(2, 1, 432, 1, dtype=torch.float64)
    blur = Blur(HealpixGrid(6)).double()
    assert float((blur(a) * b).sum()) == pytest.approx(float((a * blur(b)).sum()), rel=1e-12)


def test_pieces_do_not_show(monkeypatch):
    x = torch.randn(2, 3072, 3)
    whole = Blur(HealpixGrid(16))(x)
    monkeypatch.setattr("deepsphere_codec.layers.blur._PIECE", 1000)
    assert torch.equal(Blur(HealpixGrid(16))(x), whole)


def test_a_patch_is_blurred_as_the_sphere_but_at_its_border():
    grid, patch = HealpixGrid(32), PatchGrid(32, 8, 0, 16, 16)
    x = torch.randn(1, grid.npix, 2)
    blur = Blur(PatchGrid(32, 3, 8, 8, 16))
    blur.place(patch)
    inner = [y.view(16, 16, 2)[5:-5, 5:-5] for y in (Blur(grid)(x)[0, patch.nodes], blur(x[:, patch.nodes])[0])]
    assert torch.equal(*inner)


def test_threads_change_nothing(on_threads):
    x, blur = torch.rand(1, 12 * 64**2, 3), Blur(HealpixGrid(64))
    assert torch.equal(blur(x), on_threads(2, lambda: blur(x)))
    assert torch.equal(blur(x), on_threads(3, lambda: blur(x)))


def test_gradient():
    x = torch.randn(1, 48, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Blur(HealpixGrid(2)).double(), (x,), fast_mode=True)


def test_weights_are_not_in_the_state_dict():
    assert Blur(HealpixGrid(1)).state_dict() == {}
