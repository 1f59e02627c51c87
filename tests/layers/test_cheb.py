"""Chebyshev convolution against PyTorch Geometric, PyGSP and a dense matrix; gradients; equivariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pygsp.filters import Filter, approximations
from pygsp.graphs import Graph
from torch import Tensor, nn

from deepsphere_codec.graph import SphereGraph, build_graph
from deepsphere_codec.layers import ChebConv, mix_channels

# Fin, Fout: the second pair mixes channels first (Clenshaw's recurrence).
CHANNELS = [(4, 6), (8, 3)]


def pyg(layer: ChebConv, graph: SphereGraph, x: Tensor) -> Tensor:
    """PyTorch Geometric's layer with our weights; no normalisation, so that its Laplacian is D - A, as ours is."""
    from torch_geometric.nn import ChebConv as Oracle

    fin, fout = x.shape[-1], layer.weight.shape[1]
    oracle = Oracle(fin, fout, layer.order, normalization=None).to(x.dtype)
    with torch.no_grad():
        for linear, tap in zip(oracle.lins, layer.weight.view(layer.order, fin, fout), strict=True):
            linear.weight.copy_(tap.t())
        oracle.bias.copy_(layer.bias)
    edges = graph.adjacency().tocoo()
    index = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64))
    weight = torch.from_numpy(edges.data).to(x.dtype)
    return torch.stack([oracle(one, index, weight, lambda_max=torch.tensor(graph.lmax, dtype=x.dtype)) for one in x])


def pygsp(layer: ChebConv, graph: SphereGraph, x: Tensor) -> Tensor:
    """PyGSP's Chebyshev filter, one filter for each pair of channels."""
    oracle = Graph(graph.adjacency())
    oracle._lmax, oracle._lmax_method = graph.lmax, "lanczos"  # ours: its own estimate differs from run to run
    fin, fout = x.shape[-1], layer.weight.shape[1]
    taps = layer.weight.detach().double().view(layer.order, fin, fout).numpy().copy()
    taps[0] *= 2  # its series starts with c0 / 2
    y = np.zeros((len(x), graph.npix, fout))
    for b in range(len(x)):
        for i in range(fin):
            filtered = approximations.cheby_op(oracle, taps[:, i].T, x[b, :, i : i + 1].double().numpy())
            y[b] += filtered.reshape(fout, graph.npix).T
    return torch.from_numpy(y) + layer.bias.detach().double()


@pytest.mark.parametrize("oracle", [pyg, pygsp])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("order", "k"), [(2, 8), (3, 8), (5, 8), (3, 20)])
def test_equals_other_implementations(oracle, channels, order, k, backend):
    graph = build_graph(8, k)
    layer = ChebConv(*channels, order, graph, backend=backend)
    nn.init.normal_(layer.bias)
    layer = layer.double()
    x = torch.randn(2, graph.npix, channels[0], dtype=torch.float64)
    with torch.no_grad():
        expected = oracle(layer, graph, x)
        assert (layer(x) - expected).abs().max() <= 1e-10
        assert (layer.float()(x.float()) - expected).abs().max() <= 1e-5


def test_pygsps_heat_filter_comes_out_of_its_chebyshev_coefficients():
    """The whole way: a kernel, PyGSP's coefficients of it, our layer, PyGSP's filtered signal."""
    graph = build_graph(8)
    oracle = Graph(graph.adjacency())
    oracle._lmax, oracle._lmax_method = graph.lmax, "lanczos"
    heat = Filter(oracle, lambda eigenvalue: np.exp(-2 * eigenvalue))
    coefficients = approximations.compute_cheby_coeff(heat, m=12)
    layer = ChebConv(1, 1, 13, graph, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(coefficients)[:, None])
        layer.weight[0] /= 2
    x = torch.randn(graph.npix, dtype=torch.float64)
    filtered = heat.filter(x.numpy(), method="chebyshev", order=12)
    exact = heat.filter(x.numpy(), method="exact")
    ours = layer(x[None, :, None])[0, :, 0].detach().numpy()
    assert np.abs(ours - filtered).max() <= 1e-10
    assert np.abs(ours - exact).max() <= 1e-6


@pytest.mark.parametrize("channels", [(2, 3), (4, 2)])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_gradients(channels, order, backend):
    layer = ChebConv(*channels, order, build_graph(1), backend=backend).double()
    x = torch.randn(1, 12, channels[0], dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("channels", CHANNELS)
def test_single_tap_does_not_touch_the_laplacian(channels):
    layer = ChebConv(*channels, 1, build_graph(2))
    layer.laplacian.forward = None
    x = torch.randn(1, 48, channels[0])
    assert torch.allclose(layer(x), x @ layer.weight + layer.bias, atol=1e-6)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("k", [8, 20])
def test_equivariant_under_yaw_and_mirrors(channels, k, move_nside8, backend):
    layer = ChebConv(*channels, 4, build_graph(8, k), backend=backend)
    x = torch.randn(2, 768, channels[0])
    assert (layer(move_nside8(x)) - move_nside8(layer(x))).abs().max() < 1e-5


def test_sees_order_minus_one_hops():
    graph = build_graph(8)
    layer = ChebConv(1, 1, 3, graph, bias=False)
    x = torch.zeros(1, graph.npix, 1)
    x[0, 300] = 1
    hops = (graph.adjacency() + graph.adjacency() @ graph.adjacency()).toarray()[300] > 0
    reached = layer(x)[0, :, 0].detach().numpy() != 0
    hops[300] = reached[300] = True
    assert np.array_equal(reached, hops)


def test_starts_with_deepspheres_deviation():
    layer = ChebConv(64, 200, 3, build_graph(1))
    assert layer.weight.shape == (192, 200) and layer.bias.shape == (200,)
    assert layer.weight.std().item() == pytest.approx((2 / 192) ** 0.5, rel=0.03)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert ChebConv(2, 2, 2, build_graph(1), bias=False).bias is None


def test_order_zero_is_refused():
    with pytest.raises(ValueError, match="order is 0"):
        ChebConv(1, 1, 0, build_graph(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mix_channels_is_a_product(dtype):
    x, weight, bias = torch.randn(2, 48, 7, dtype=dtype), torch.randn(7, 5, dtype=dtype), torch.randn(5, dtype=dtype)
    assert torch.allclose(mix_channels(x, weight, bias), x @ weight + bias, atol=1e-5)
    assert torch.allclose(mix_channels(x[:, ::2], weight), x[:, ::2] @ weight, atol=1e-5)


def test_number_of_threads_changes_no_bit():
    """A decoder's picture may not depend on it."""
    layer, x = ChebConv(24, 40, 3, build_graph(16)), torch.randn(1, 3072, 24)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = layer(x)
        torch.set_num_threads(2)
        assert torch.equal(layer(x), one)
    finally:
        torch.set_num_threads(threads)
