"""The gated layer: its gain against a loop, its filter against dense matrices, and what the gain lets it see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import ChebConv, GatedChebConv, RescaledLaplacian
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid


def make(fin: int, fout: int, order: int, nside: int, period: int = 4, bias: bool = True) -> GatedChebConv:
    """With a gain that is no longer one."""
    layer = GatedChebConv(fin, fout, order, RescaledLaplacian(build_graph(nside)), nside, period, bias)
    torch.nn.init.normal_(layer.gain)
    return layer


@pytest.mark.parametrize("period", [1, 2, 4])
@pytest.mark.parametrize("order", [1, 3])
def test_equals_dense_matrices_of_a_modulated_signal(period, order):
    layer = make(3, 5, order, 8, period).double()
    graph, (_, x, y) = build_graph(8), HealpixGrid.cached(8).face_xy
    laplacian = 2 * graph.laplacian().toarray() / graph.lmax - np.eye(graph.npix)
    polynomials = [np.eye(graph.npix), laplacian, 2 * laplacian @ laplacian - np.eye(graph.npix)][:order]
    signal = torch.randn(2, graph.npix, 3, dtype=torch.float64)
    gain = 1 + layer.gain.detach()[y % period, x % period]
    terms = [torch.from_numpy(polynomial) @ (gain * signal) for polynomial in polynomials]
    expected = torch.cat(terms, -1) @ layer.weight.detach()
    with torch.no_grad():
        assert (layer(signal) - expected).abs().max() < 1e-10
        assert (layer.float()(signal.float()) - expected).abs().max() < 1e-4


def test_a_patch_has_the_gain_of_its_place_on_the_sphere():
    grid = PatchGrid(16, 3, 4, 8, 8)
    whole = make(2, 2, 1, 16)
    patch = GatedChebConv(2, 2, 1, whole.filter.laplacian, grid.side)
    patch.gain = whole.gain
    x = torch.randn(2, 12 * 16**2, 2)
    assert torch.equal(patch.modulate(x[:, grid.nodes]), whole.modulate(x)[:, grid.nodes])


def test_starts_as_the_chebyshev_filter():
    laplacian = RescaledLaplacian(build_graph(8))
    torch.manual_seed(3)
    gated = GatedChebConv(4, 6, 3, laplacian, 8)
    torch.manual_seed(3)
    plain = ChebConv(4, 6, 3, laplacian)
    x = torch.randn(2, 768, 4)
    assert torch.equal(gated.weight, plain.weight) and torch.equal(gated(x), plain(x))
    assert {name: tuple(value.shape) for name, value in gated.state_dict().items()} == {
        "gain": (4, 4, 4),
        "filter.weight": (12, 6),
        "filter.bias": (6,),
    }


def test_tells_a_pattern_from_its_mirror_image_where_a_radial_filter_does_not(twins):
    radial = ChebConv(1, 4, 3, twins.laplacian)
    assert twins.difference(radial) < 1e-5
    gated = GatedChebConv(1, 4, 3, twins.laplacian, 8)
    assert twins.difference(gated) < 1e-5
    torch.nn.init.normal_(gated.gain)
    assert twins.difference(gated) > 0.05


def test_a_gain_of_period_two_is_its_own_mirror_image(twins):
    """Why the period is four: this one tells x from y, but never left from right."""
    layer = GatedChebConv(1, 4, 3, twins.laplacian, 8, period=2)
    torch.nn.init.normal_(layer.gain)
    assert twins.difference(layer) < 1e-5


def test_gradients():
    layer = make(2, 3, 3, 4).double()
    x = torch.randn(1, 192, 2, dtype=torch.float64, requires_grad=True)
    names = ["gain", "filter.weight", "filter.bias"]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, layer.gain, layer.weight, layer.bias), fast_mode=True)


@pytest.mark.parametrize(("side", "period"), [(2, 4), (6, 4), (3, 2), (4, 0)])
def test_a_side_that_is_no_multiple_of_the_period_is_refused(side, period):
    with pytest.raises(ValueError, match=f"side is {side}: a gain that repeats every {period} nodes needs a multiple"):
        GatedChebConv(1, 1, 1, RescaledLaplacian(build_graph(1)), side, period)


def test_number_of_threads_changes_no_bit(on_threads):
    layer, x = make(24, 40, 3, 16), torch.randn(1, 3072, 24)
    with torch.no_grad():
        assert torch.equal(on_threads(1, lambda: layer(x)), on_threads(2, lambda: layer(x)))
