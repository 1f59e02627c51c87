"""The hybrid layer against dense matrices; exact derivatives; gradients; what it sees that a radial filter does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import ChebConv, FacePadding, HybridConv, RescaledLaplacian
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

SW, NW, NE, SE = 0, 2, 4, 6  # in the order of HealpixGrid.neighbors


def make(fin: int, fout: int, order: int, nside: int, k: int = 8, bias: bool = True) -> HybridConv:
    padding = FacePadding(HealpixGrid.cached(nside), 1)
    return HybridConv(fin, fout, order, RescaledLaplacian(build_graph(nside, k)), padding, bias)


def dense(layer: HybridConv, nside: int, k: int, x: Tensor) -> Tensor:
    """[T0 x | … | Dx x | Dy x] W + b with matrices, in float64."""
    graph, neighbors = build_graph(nside, k), HealpixGrid.cached(nside).neighbors
    laplacian = 2 * graph.laplacian().toarray() / graph.lmax - np.eye(graph.npix)
    terms = [np.eye(graph.npix), laplacian]
    while len(terms) < layer.order:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    terms = terms[: layer.order]
    for ahead, behind in ((NE, SW), (NW, SE)):
        difference = np.zeros_like(laplacian)
        rows = np.arange(graph.npix)
        np.add.at(difference, (rows, neighbors[:, ahead]), 0.5)
        np.add.at(difference, (rows, neighbors[:, behind]), -0.5)
        terms.append(difference)
    parts = torch.cat([torch.from_numpy(term) @ x for term in terms], -1)
    y = parts @ layer.weight.detach().double()
    return y if layer.bias is None else y + layer.bias.detach().double()


@pytest.mark.parametrize(("order", "k"), [(1, 8), (2, 8), (3, 8), (5, 8), (3, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_dense_matrices(order, k, bias):
    layer = make(3, 5, order, 8, k, bias).double()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 768, 3, dtype=torch.float64)
    with torch.no_grad():
        expected = dense(layer, 8, k, x)
        assert (layer(x) - expected).abs().max() < 1e-10
        assert (layer.float()(x.float()) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("whole", [True, False])
def test_derivative_of_a_linear_function_is_exact(axis, whole):
    """Inside a face, and inside a patch; at a patch's border it is half."""
    side, slope = 8, 3.0
    grid = HealpixGrid.cached(side) if whole else PatchGrid(16, 2, 8, 0, side)
    face, x, y = grid.face_xy
    layer = HybridConv(1, 1, 1, RescaledLaplacian(build_graph(8)), FacePadding(grid, 1))  # K = 1: no Laplacian
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[1 + axis] = 1
    position = (x, y)[axis] - (0 if whole else (grid.x0, grid.y0)[axis])
    signal = torch.from_numpy(slope * position + 2.0 * face).float()
    derivative = layer(signal[None, :, None])[0, :, 0].detach()
    inside = torch.from_numpy((position > 0) & (position < side - 1))
    assert torch.equal(derivative[inside], torch.full_like(derivative[inside], slope))
    if not whole:
        assert torch.equal(derivative[~inside], torch.full_like(derivative[~inside], slope / 2))


def test_tells_a_pattern_from_its_mirror_image_where_a_radial_filter_does_not(twins):
    radial = ChebConv(1, 4, 3, twins.laplacian)
    assert twins.difference(radial) < 1e-5
    hybrid = HybridConv(1, 4, 3, twins.laplacian, FacePadding(HealpixGrid.cached(8), 1))
    assert twins.difference(hybrid) > 0.05


def test_equivariant_under_yaw_by_90_degrees(yaw_nside8):
    layer = make(3, 4, 3, 8)
    x = torch.randn(2, 768, 3)
    assert (layer(yaw_nside8(x)) - yaw_nside8(layer(x))).abs().max() < 1e-5


@pytest.mark.parametrize("order", [1, 3])
def test_gradients(order):
    layer = make(2, 3, order, 2).double()
    x = torch.randn(1, 48, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


def test_starts_with_the_deviation_of_its_taps():
    layer = make(64, 200, 3, 1)
    assert layer.weight.shape == (320, 200) and not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx((2 / 320) ** 0.5, rel=0.03)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_order_zero_is_refused():
    with pytest.raises(ValueError, match="order is 0"):
        make(1, 1, 0, 1)


def test_number_of_threads_changes_no_bit(on_threads):
    layer, x = make(24, 40, 3, 16), torch.randn(1, 3072, 24)
    with torch.no_grad():
        assert torch.equal(on_threads(1, lambda: layer(x)), on_threads(2, lambda: layer(x)))
