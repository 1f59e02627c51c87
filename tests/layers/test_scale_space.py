"""Scale-space warp: sharp it is the warp, whole scales are the stack's levels, in between it is linear."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from deepsphere_codec.layers import Warp, mean_pool
from deepsphere_codec.layers.blur import Blur
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.layers.scale_space import ScaleSpaceWarp
from deepsphere_codec.sphere import HealpixGrid, exp_map, log_map, project
from deepsphere_codec.sphere.patch import PatchGrid


def scale_space(grid: Grid, resolutions: int) -> ScaleSpaceWarp:
    grids = [grid]
    for _ in range(resolutions - 1):
        last = grids[-1]
        grids.append(HealpixGrid(last.nside // 2) if isinstance(last, HealpixGrid) else last.parent())
    return ScaleSpaceWarp([Warp(each) for each in grids])


@pytest.fixture(scope="module")
def nside32() -> ScaleSpaceWarp:
    """Six levels, as in the model."""
    return scale_space(HealpixGrid(32), 5)


def centers(nside: int) -> torch.Tensor:
    return torch.from_numpy(HealpixGrid(nside).centers)


def random_field(nside: int, steps: float) -> torch.Tensor:
    """Vectors of some nodes' length."""
    return (steps / nside * project(centers(nside), torch.randn(1, 12 * nside**2, 3, dtype=torch.float64))).float()


def everywhere(value: float, nside: int) -> torch.Tensor:
    return torch.full((1, 12 * nside**2, 1), float(value))


@pytest.mark.parametrize("learning", [False, True])
def test_sharp_it_is_the_warp_bit_for_bit(nside32, learning):
    x, v = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0)
    assert torch.equal(nside32(x.requires_grad_(learning), v, everywhere(0, 32)), nside32.warp(x, v))
    assert torch.equal(nside32(x, torch.zeros_like(v), everywhere(0, 32)), x)


def test_sharp_nodes_stay_so_beside_others(nside32):
    x, v, scale = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0), everywhere(0, 32)
    scale[:, ::3] = 2.6
    y, sharp = nside32(x, v, scale), nside32.warp(x, v)
    assert torch.equal(y == sharp, (scale == 0).expand_as(y))


def test_levels_are_means_over_parents_blurred(nside32):
    x = torch.randn(2, 12 * 32**2, 3)
    level = Blur(HealpixGrid(32))(x)
    stack = nside32.stack(x, 6)
    assert torch.equal(stack[0], x) and torch.equal(stack[1], level)
    for depth in range(1, 5):
        level = Blur(HealpixGrid(32 >> depth))(mean_pool(level, 64 >> depth))
        assert torch.allclose(stack[depth + 1], level, atol=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_whole_scale_is_that_level(nside32, level):
    """Each node looks at its ancestor's centre, where the level is known without interpolation."""
    nside = 32 >> max(0, level - 1)
    ancestor = torch.arange(12 * 32**2)
    for depth in range(level - 1):
        ancestor = torch.from_numpy(HealpixGrid(32 >> depth).parents)[ancestor]
    v = log_map(centers(32), centers(nside)[ancestor])[None].float()
    x = torch.randn(1, 12 * 32**2, 3)
    y = nside32(x, v, everywhere(level, 32))
    assert (y - nside32.stack(x, 6)[level][:, ancestor]).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [0.25, 1.5, 2.9, 4.01])
def test_linear_between_levels(nside32, scale):
    x, v, low = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0), math.floor(scale)
    below, at, above = (nside32(x, v, everywhere(s, 32)) for s in (low, scale, low + 1))
    assert torch.allclose(at, below + (scale - low) * (above - below), atol=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_harmonics_decay_by_the_table(nside32, level):
    """exp(-l (l + 1) σ² / 2), with the σ that the class's docstring lists."""
    assert [round(sigma, 2) for sigma in nside32.sigmas] == [0, 1.5, 3.39, 6.96, 14.02, 28.08]
    assert all(f" {sigma:.4g}" in ScaleSpaceWarp.__doc__ for sigma in np.round(nside32.sigmas, 2)[1:])
    sigma = nside32.sigmas[level] * math.sqrt(math.pi / 3) / 32
    p = HealpixGrid(32).centers
    for left in (0.9, 0.5, 0.2):
        degree = max(1, round(math.sqrt(0.25 - 2 * math.log(left) / sigma**2) - 0.5))
        orders = sorted({0, 1, degree // 2, degree})
        angles = np.arccos(p[:, 2]), np.arctan2(p[:, 1], p[:, 0])
        x = torch.from_numpy(np.stack([sph_harm_y(degree, m, *angles).real for m in orders], -1))[None].float()
        y = nside32(x, torch.zeros(1, 12 * 32**2, 3), everywhere(level, 32))
        truth = math.exp(-degree * (degree + 1) * sigma**2 / 2)
        assert ((y * x).sum(1) / (x * x).sum(1) - truth).abs().max() < 0.04


def test_constants_stay(nside32):
    x, scale = torch.full((1, 12 * 32**2, 1), 0.7), 5 * torch.rand(1, 12 * 32**2, 1)
    assert (nside32(x, random_field(32, 3.0), scale) - 0.7).abs().max() < 1e-6


@pytest.mark.parametrize("level", [2, 3])
def test_no_seam_where_faces_meet(level):
    """Against a blur at full resolution, of noise. Where x and y bend, between polar faces, the kernel errs more."""
    nside, steps = 32, {2: 5, 3: 22}[level]  # blurs of 1.5 nodes that make σ of 3.35 and 7.04
    grid, layer = HealpixGrid(nside), scale_space(HealpixGrid(nside), 3)
    x, zero = torch.randn(1, grid.npix, 24), torch.zeros(1, grid.npix, 3)
    truth = x
    for _ in range(steps):
        truth = layer.blurs[0](truth)
    error = ((layer(x, zero, everywhere(level, nside)) - truth) / truth.std()).square().mean(-1).sqrt()[0].numpy()
    face, column, row = grid.face_xy
    near = np.minimum.reduce([column, row, nside - 1 - column, nside - 1 - row]) < 1 << (level - 1)
    polar = np.abs(grid.centers[:, 2]) > 2 / 3
    assert error[near & ~polar].mean() < 1.3 * error[~near & ~polar].mean()
    assert error[near & polar].mean() < 2.5 * error[~near & polar].mean()
    assert error.max() < 0.25


def test_what_lies_beyond_the_levels(nside32):
    x, v = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0)
    assert torch.equal(nside32(x, v, everywhere(-3, 32)), nside32.warp(x, v))
    for beyond in (6.0, 3e38, math.inf):
        assert torch.equal(nside32(x, v, everywhere(beyond, 32)), nside32(x, v, everywhere(5, 32)))


@pytest.mark.parametrize("learning", [False, True])
def test_a_scale_that_is_no_number_reads_nothing_it_must_not(nside32, learning):
    x, v, scale = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0), everywhere(2.5, 32)
    clean = nside32(x, v, scale)
    scale[0, 7] = math.nan
    y = nside32(x.requires_grad_(learning), v, scale)
    others = torch.arange(12 * 32**2) != 7
    assert torch.equal(y[:, others], clean[:, others])


def test_with_gradients_the_same(nside32):
    x, v = torch.randn(1, 12 * 32**2, 3), random_field(32, 2.0)
    scale = 7 * torch.rand(1, 12 * 32**2, 1) - 1
    assert torch.equal(nside32(x, v, scale), nside32(x, v.requires_grad_(), scale))


def test_gradients_in_signal_field_and_scale():
    patch = PatchGrid(64, 4, 8, 16, 8)
    layer = scale_space(patch, 3).double()
    p = torch.from_numpy(patch.centers)
    x = torch.randn(1, 64, 1, dtype=torch.float64, requires_grad=True)
    v = (0.01 * project(p, torch.randn(1, 64, 3, dtype=torch.float64))).requires_grad_()
    scale = (torch.randint(0, 3, (1, 64, 1)) + 0.1 + 0.8 * torch.rand(1, 64, 1)).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (x, v, scale), fast_mode=True)


def test_a_sharp_node_learns_to_blur(nside32):
    """Scale begins at zero, so it is there that the gradient has to be right: what the next level would change."""
    x, scale = torch.randn(1, 12 * 32**2, 1), everywhere(0, 32).requires_grad_()
    nside32(x, torch.zeros(1, 12 * 32**2, 3), scale).sum().backward()
    assert torch.allclose(scale.grad, Blur(HealpixGrid(32))(x) - x, atol=1e-6)


def test_moves_are_made_in_radians_at_every_level():
    """A smooth signal is found where the vector leads, whatever the scale; over the belt's borders too."""
    p, v = centers(64), random_field(64, 9.0)
    layer, signal = scale_space(HealpixGrid(64), 4), torch.tensor([0.5, -1.0, 2.0])
    target = exp_map(p, v[0].double())
    belt = (p[:, 2].abs() < 0.5) & (target[:, 2].abs() < 0.5)
    for scale in (0.0, 1.0, 2.3, 4.0):
        y = layer((p.float() @ signal)[None, :, None], v, everywhere(scale, 64))[0, :, 0]
        shrink = math.exp(-((layer.sigmas[round(scale)] * math.sqrt(math.pi / 3) / 64) ** 2))
        assert (y - shrink * (target.float() @ signal))[belt].abs().max() < 0.03


def test_batches_are_warped_each_by_its_own_field():
    layer = scale_space(HealpixGrid(8), 3)
    x, scale = torch.randn(3, 768, 2), 4 * torch.rand(3, 768, 1) - 1
    v = torch.cat([random_field(8, steps) for steps in (0.0, 1.0, 4.0)])
    assert torch.equal(
        layer(x, v, scale), torch.cat([layer(x[i : i + 1], v[i : i + 1], scale[i : i + 1]) for i in range(3)])
    )


def test_a_patch_that_moves_takes_its_stack_along():
    here, there = PatchGrid(64, 4, 0, 0, 16), PatchGrid(64, 0, 48, 48, 16)
    x, v = torch.randn(1, 256, 2), torch.zeros(1, 256, 3)
    scale = 3 * torch.rand(1, 256, 1)
    moved, new = scale_space(here, 3), scale_space(there, 3)
    moved(x, v, scale)
    for warp, placed in zip(moved.warps, new.warps, strict=True):
        warp.place(placed.grid)
    assert torch.equal(moved(x, v, scale), new(x, v, scale))


def test_a_patch_sees_what_the_sphere_shows_but_at_its_border():
    grid, patch = HealpixGrid(64), PatchGrid(64, 4, 16, 0, 32)
    x, v = torch.randn(1, grid.npix, 2), random_field(64, 1.0)
    scale = 1.5 * torch.rand(1, grid.npix, 1)
    nodes = patch.nodes
    whole = scale_space(grid, 2)(x, v, scale)[:, nodes]
    part = scale_space(patch, 2)(x[:, nodes], v[:, nodes], scale[:, nodes])
    inner = (part - whole).view(32, 32, 2)[12:-12, 12:-12]
    assert inner.abs().max() < 1e-4


def test_threads_change_nothing(on_threads):
    nside = 64
    layer, x, v = scale_space(HealpixGrid(nside), 5), torch.rand(1, 12 * nside**2, 3), random_field(nside, 3.0)
    scale = 6 * torch.rand(1, 12 * nside**2, 1) - 1
    one = layer(x, v, scale)
    assert torch.equal(on_threads(2, lambda: layer(x, v, scale)), one)
    assert torch.equal(on_threads(3, lambda: layer(x, v, scale)), one)


def test_tables_are_not_in_the_state_dict():
    assert scale_space(HealpixGrid(4), 2).state_dict() == {}
