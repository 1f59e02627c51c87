"""Parents and children in place of strides."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.layers import fold_children, mean_pool, unfold_children, unpool
from deepsphere_codec.sphere import HealpixGrid


@pytest.mark.parametrize("nside", [2, 6, 8])
def test_children_become_channels_in_the_grids_order(nside):
    x = torch.randn(2, 12 * nside**2, 3)
    children = HealpixGrid(nside // 2).children
    expected = x[:, torch.from_numpy(children)].flatten(2)
    assert torch.equal(fold_children(x, nside), expected)


@pytest.mark.parametrize("nside", [2, 6, 8])
def test_unfold_is_the_inverse_of_fold(nside):
    x = torch.randn(2, 12 * nside**2, 3)
    folded = fold_children(x, nside)
    assert torch.equal(unfold_children(folded, nside // 2), x)
    wide = torch.randn(2, 12 * nside**2, 8)
    assert torch.equal(fold_children(unfold_children(wide, nside), 2 * nside), wide)


def test_two_levels_at_once():
    x = torch.randn(1, 12 * 64, 3)
    folded = fold_children(fold_children(x, 8), 4)
    assert folded.shape == (1, 48, 48)
    grand = HealpixGrid(4).children[HealpixGrid(2).children]
    assert torch.equal(folded, x[:, torch.from_numpy(grand)].flatten(2))


@pytest.mark.parametrize("nside", [2, 6, 8])
def test_mean_pool_and_unpool(nside):
    x = torch.randn(2, 12 * nside**2, 3)
    pooled = mean_pool(x, nside)
    children = torch.from_numpy(HealpixGrid(nside // 2).children)
    assert torch.allclose(pooled, x[:, children].mean(2), atol=1e-6)
    parents = torch.from_numpy(HealpixGrid(nside).parents)
    assert torch.equal(unpool(pooled, nside // 2), pooled[:, parents])
    assert torch.allclose(mean_pool(unpool(pooled, nside // 2), nside), pooled, atol=1e-6)


def test_a_patch_is_pooled_by_its_own_side():
    x = torch.arange(16.0).view(1, 16, 1)
    assert mean_pool(x, 4).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize("pool", [fold_children, mean_pool, unfold_children, unpool])
def test_gradients(pool):
    x = torch.randn(1, 48, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pool(x, 2), x)
