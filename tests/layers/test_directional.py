"""The directional layer against a loop over the nine taps; padding; gradients; equivariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.layers import DirectionalConv, FacePadding
from deepsphere_codec.sphere import HealpixGrid

# (dx, dy) in the order of HealpixGrid.neighbors: SW, W, NW, N, NE, E, SE, S.
STEPS = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def nine_taps(layer: DirectionalConv, grid: HealpixGrid, x: torch.Tensor) -> torch.Tensor:
    y = x @ layer.weight[:, :, 1, 1].t()
    for (dx, dy), neighbor in zip(STEPS, grid.neighbors.T, strict=True):
        there = torch.from_numpy(neighbor >= 0)[:, None]
        value = torch.where(there, x[:, np.maximum(neighbor, 0)], 0)
        y = y + value @ layer.weight[:, :, 1 + dy, 1 + dx].t()
    return y if layer.bias is None else y + layer.bias


@pytest.mark.parametrize("nside", [1, 2, 6, 8])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_a_loop_over_nine_taps(nside, batch, bias):
    grid = HealpixGrid(nside)
    layer = DirectionalConv(3, 5, grid, bias)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(batch, grid.npix, 3)
    with torch.no_grad():
        assert (layer(x) - nine_taps(layer, grid, x)).abs().max() < 1e-5
    double = layer.double()
    assert (double(x.double()) - nine_taps(double, grid, x.double())).abs().max() < 1e-12


def test_gradients():
    layer = DirectionalConv(2, 2, HealpixGrid(1)).double()
    x = torch.randn(2, 12, 2, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


def test_equivariant_under_yaw_by_90_degrees(yaw_nside8):
    """A quarter turn maps faces to faces as they stand; a mirror would swap the directions."""
    layer = DirectionalConv(3, 4, HealpixGrid(8))
    x = torch.randn(2, 768, 3)
    assert (layer(yaw_nside8(x)) - yaw_nside8(layer(x))).abs().max() < 1e-5


def test_tells_left_from_right():
    """What a radial filter cannot do: a single tap moves the picture one node towards north-east, over the borders."""
    grid = HealpixGrid(8)
    layer = DirectionalConv(1, 1, grid, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 0] = 1  # dx = -1: the neighbour in the south-west
    x = torch.randn(1, grid.npix, 1)
    assert torch.equal(layer(x)[0], x[0, grid.neighbors[:, 0]])


@pytest.mark.parametrize("depth", [1, 2])
def test_padding_is_the_grids_halo_and_its_input_stays(depth):
    grid = HealpixGrid(4)
    x = torch.randn(2, grid.npix, 3)
    before = x.clone()
    images = FacePadding(grid, depth)(x)
    halo = grid.halo(depth)
    expected = torch.where(torch.from_numpy(halo >= 0)[..., None], x[:, np.maximum(halo, 0)], 0)
    assert torch.equal(images.permute(0, 2, 3, 1).reshape(expected.shape), expected)
    assert torch.equal(x, before)


def test_flatten_undoes_a_reshape_to_faces():
    grid = HealpixGrid(4)
    x = torch.randn(2, grid.npix, 3)
    padding = FacePadding(grid, 1)
    assert torch.equal(padding.flatten(padding(x)[:, :, 1:-1, 1:-1]), x)


def test_layers_share_a_padding_and_keep_it_out_of_the_state_dict():
    padding = FacePadding(HealpixGrid(2), 1)
    layers = DirectionalConv(1, 2, padding), DirectionalConv(2, 1, padding)
    assert layers[0].padding is layers[1].padding
    assert list(layers[0].state_dict()) == ["weight", "bias"]
