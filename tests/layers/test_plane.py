"""Layers on ERP pictures: what lies beyond the borders, where vectors lead, parents; against index formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepsphere_codec.layers import DirectionalConv, ErpPadding, Warp, fold_children, unfold_children, warp
from deepsphere_codec.layers.padding import FacePadding, make_padding
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid

H, W = 8, 16
GRID = ErpGrid(H, W)
PIXEL = 2 * math.pi / W


def picture(channels: int = 3, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(2, H * W, channels, dtype=dtype)


def extended(x: torch.Tensor, rows, columns) -> torch.Tensor:
    """Values at any whole rows and columns: latitude and longitude that go on and on."""
    rows, columns = np.broadcast_arrays(rows, columns)
    rows = rows % (2 * H)
    beyond = rows >= H
    index = np.where(beyond, 2 * H - 1 - rows, rows) * W + (columns + beyond * (W // 2)) % W
    return x[:, torch.from_numpy(index.reshape(-1))].unflatten(1, index.shape)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_border_is_circular_in_longitude_and_goes_on_over_the_poles(depth):
    x = picture()
    padding = ErpPadding(GRID, depth)
    images = padding(x)
    expected = extended(x, np.arange(-depth, H + depth)[:, None], np.arange(-depth, W + depth))
    assert torch.equal(images.permute(0, 2, 3, 1), expected)
    assert torch.equal(padding.flatten(images[:, :, depth:-depth, depth:-depth]), x)


def test_a_patch_repeats_its_border():
    patch = ErpPatch(64, 128, 0, 64, 6, 10)
    x = torch.randn(1, 60, 2)
    image = x.view(6, 10, 2).permute(2, 0, 1)
    assert torch.equal(make_padding(patch)(x), F.pad(image[None], (1, 1, 1, 1), mode="replicate"))


def test_each_geometry_has_its_padding():
    assert isinstance(make_padding(GRID), ErpPadding) and isinstance(make_padding(HealpixGrid(2)), FacePadding)


def test_a_field_goes_on_over_a_pole_as_the_sphere_does():
    """A turn about the vertical axis is the same to both sides of a pole; a way through the pole goes down, then up."""
    v = torch.tensor([1.0, 2.0, 0.0]).repeat(1, H * W, 1)
    images = ErpPadding(GRID).field(v)
    assert torch.equal(images[:, 0], torch.ones(1, H + 2, W + 2))
    assert torch.equal(images[:, 1, [0, -1]], torch.full((1, 2, W + 2), -2.0))
    assert torch.equal(images[:, 1, 1:-1], torch.full((1, H, W + 2), 2.0))
    assert torch.equal(v, torch.tensor([1.0, 2.0, 0.0]).repeat(1, H * W, 1)), "and leaves its argument as it was"


def test_a_directional_convolution_is_conv2d():
    layer = DirectionalConv(3, 5, GRID).double()
    x = picture()
    padded = extended(x, np.arange(-1, H + 1)[:, None], np.arange(-1, W + 1)).permute(0, 3, 1, 2)
    expected = F.conv2d(padded, layer.weight, layer.bias).permute(0, 2, 3, 1).reshape(2, -1, 5)
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_what_is_rolled_before_a_convolution_is_rolled_after_it():
    layer, x = DirectionalConv(3, 5, GRID).double(), picture()

    def roll(signal):
        return signal.unflatten(1, (H, W)).roll(5, 2).flatten(1, 2)

    assert torch.allclose(layer(roll(x)), roll(layer(x)), atol=1e-12)


def test_children_of_a_rectangle_become_channels_and_back():
    x = picture()
    blocks = x.view(2, H // 2, 2, W // 2, 2, 3)
    expected = torch.cat([blocks[:, :, dy, :, dx] for dy in range(2) for dx in range(2)], -1).flatten(1, 2)
    folded = fold_children(x, W)
    assert torch.equal(folded, expected) and torch.equal(unfold_children(folded, W // 2), x)


def test_no_motion_is_the_picture_bit_for_bit():
    x = picture(dtype=torch.float32)
    zero = torch.zeros(2, H * W, 3)
    assert torch.equal(warp(x, zero, GRID), x) and torch.equal(warp(x, -zero, GRID), x)
    patch = ErpPatch(64, 128, 32, 64, H, W)
    assert torch.equal(warp(x, zero, patch), x)


@pytest.mark.parametrize("columns, rows", [(3, 0), (-5, 0), (0, 2), (0, -3), (W // 2, -H), (-1, H - 1), (0, H)])
def test_whole_pixels_fetch_the_pixel_there(columns, rows):
    """Along a row that is a roll; past a pole it is the reflected picture, half a turn further."""
    x = picture()
    v = torch.tensor([columns * PIXEL, rows * PIXEL, 0.0], dtype=torch.float64).expand(2, H * W, 3)
    expected = extended(x, np.arange(H)[:, None] + rows, np.arange(W) + columns).flatten(1, 2)
    assert torch.allclose(warp(x, v, GRID), expected, atol=1e-9)
    assert torch.allclose(warp(x.float(), v.float(), GRID), expected.float(), atol=1e-4)
    if not rows:
        assert torch.equal(expected, x.unflatten(1, (H, W)).roll(-columns, 2).flatten(1, 2))


def test_between_pixels_the_kernel_is_cubic_and_crosses_every_border():
    """Keys' kernel is exact for parabolas; here it is compared tap by tap, half a pixel to the right and down."""
    x = picture(1)
    v = torch.tensor([PIXEL / 2, PIXEL / 2, 0.0], dtype=torch.float64).expand(2, H * W, 3)
    half = torch.tensor([-1.0, 9, 9, -1], dtype=torch.float64) / 16
    around = torch.stack(
        [extended(x, np.arange(H)[:, None] + i, np.arange(W) + j) for i in range(-1, 3) for j in range(-1, 3)], -1
    )
    expected = (around * (half[:, None] * half).flatten()).sum(-1).flatten(1, 2)
    assert torch.allclose(warp(x, v, GRID), expected, atol=1e-12)


def test_a_patch_is_the_picture_where_its_border_is_out_of_sight():
    patch = ErpPatch(H, W, 2, 4, 6, 8)
    whole, v = picture(), 0.4 * PIXEL * torch.rand(2, H * W, 3, dtype=torch.float64)
    nodes = torch.from_numpy(patch.nodes)
    error = (warp(whole[:, nodes], v[:, nodes], patch) - warp(whole, v, GRID)[:, nodes]).abs().amax((0, 2)).view(6, 8)
    assert error[1:-2, 1:-2].max() < 1e-12 < error.max()


def test_beyond_a_patch_lies_its_border():
    patch = ErpPatch(64, 128, 0, 0, 4, 6)
    x = torch.randn(1, 24, 1)
    far = torch.tensor([1.0, -1.0, 0.0]).expand(1, 24, 3)
    assert torch.allclose(warp(x, far, patch), x[:, 5].expand(1, 24, 1), atol=1e-6), "up and to the right"


def test_warping_has_the_gradients_of_its_formula():
    grid = ErpGrid(4, 8)
    x = torch.randn(1, 32, 2, dtype=torch.float64, requires_grad=True)
    v = (0.7 * torch.randn(1, 32, 3, dtype=torch.float64)).requires_grad_(True)
    layer = Warp(grid).double()
    assert torch.autograd.gradcheck(layer, (x, v))


def test_tables_are_not_in_the_state_dict():
    assert Warp(GRID).state_dict() == {} and ErpPadding(GRID).state_dict() == {}
