"""The separable layer against dense matrices; its symmetries; gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import ChebConv, RescaledLaplacian
from deepsphere_codec.layers.separable import SeparableChebConv


def make(fin: int, fout: int, order: int, bias: bool = True) -> SeparableChebConv:
    torch.manual_seed(order)
    return SeparableChebConv(fin, fout, order, RescaledLaplacian(build_graph(8)), bias)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_dense_matrices(order, bias):
    layer, graph = make(3, 5, order, bias).double(), build_graph(8)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    laplacian = 2 * graph.laplacian().toarray() / graph.lmax - np.eye(graph.npix)
    terms = [np.eye(graph.npix), laplacian]
    while len(terms) < order:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    x = torch.randn(2, 768, 3, dtype=torch.float64)
    with torch.no_grad():
        filtered = sum(torch.from_numpy(term) @ x * tap for term, tap in zip(terms, layer.taps, strict=False))
        expected = filtered @ layer.weight + (0 if layer.bias is None else layer.bias)
        assert (layer(x) - expected).abs().max() < 1e-10


def test_is_a_chebyshev_convolution_of_rank_one():
    """A matrix a tap, each the same but for the channels' factors."""
    layer = make(4, 6, 3)
    whole = ChebConv(4, 6, 3, layer.laplacian)
    with torch.no_grad():
        whole.weight.copy_((layer.taps[:, :, None] * layer.weight).flatten(0, 1))
        x = torch.randn(2, 768, 4)
        torch.testing.assert_close(layer(x), whole(x), rtol=1e-4, atol=1e-5)


def test_is_equivariant_to_the_grids_symmetries(move_nside8):
    layer, x = make(3, 4, 3), torch.randn(1, 768, 3)
    with torch.no_grad():
        torch.testing.assert_close(layer(move_nside8(x)), move_nside8(layer(x)), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    layer = make(2, 2, 3).double()
    x = torch.randn(1, 768, 2, dtype=torch.float64, requires_grad=True)
    chosen = torch.randn(1, 768, 2, dtype=torch.float64)

    def answer(taps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(layer, {"taps": taps, "weight": weight}, (x,)) * chosen).sum()

    assert torch.autograd.gradcheck(answer, (layer.taps, layer.weight))


def test_it_has_fewer_weights_than_a_whole_one():
    layer = make(8, 8, 3)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 8 + 64 + 8


def test_an_order_below_one_is_refused():
    with pytest.raises(ValueError, match="order is 0: a Chebyshev filter needs at least one tap"):
        make(1, 1, 0)
