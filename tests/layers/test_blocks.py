"""Every kind of convolution behind one interface, and the block made of two of them."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import (
    ChebConv,
    DirectionalConv,
    FacePadding,
    GatedChebConv,
    HybridConv,
    RescaledLaplacian,
)
from deepsphere_codec.layers.blocks import KINDS, ResidualBlock, Resolution, register_convolution, sphere_conv
from deepsphere_codec.layers.separable import SeparableChebConv
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.sphere import HealpixGrid

CLASSES = {
    "chebyshev": ChebConv,
    "directional": DirectionalConv,
    "hybrid": HybridConv,
    "gated": GatedChebConv,
    "separable": SeparableChebConv,
}


@pytest.fixture(scope="module")
def at() -> Resolution:
    return Resolution(8, RescaledLaplacian(build_graph(8)), FacePadding(HealpixGrid.cached(8), 1))


def test_all_kinds_are_tested():
    assert set(CLASSES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_its_class_on_the_resolutions_operators(kind, at):
    layer = sphere_conv(kind, 3, 5, at, 2)
    assert type(layer) is CLASSES[kind]
    assert layer(torch.randn(2, 768, 3)).shape == (2, 768, 5)
    shared = {id(at.laplacian), id(at.padding)}
    assert shared & {id(module) for module in layer.modules()}
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "kind, parameters",
    [("chebyshev", 4 * 9), ("hybrid", 6 * 9), ("gated", 4 * 9 + 16 * 3), ("separable", 4 * 3 + 9)],
)
def test_order_is_that_of_the_polynomial(kind, parameters, at):
    assert sum(p.numel() for p in sphere_conv(kind, 3, 3, at, 4).parameters()) == parameters + 3


def test_an_unknown_kind_is_refused(at):
    with pytest.raises(ValueError, match="'radial' is unknown: expected one of chebyshev, directional, hybrid, "):
        sphere_conv("radial", 1, 1, at)


@pytest.fixture
def ring():
    @register_convolution("ring")
    def make(*arguments):
        return arguments

    yield make
    del KINDS["ring"]


def test_a_registered_convolution_is_made_by_its_name(at, ring):
    assert sphere_conv("ring", 3, 5, at, 2) == ring(3, 5, at, 2) == (3, 5, at, 2)
    config = ModelConfig(kinds=("ring", "chebyshev"), stem="ring")
    assert ModelConfig(**config.to_dict()) == config and config.stem == "ring"
    with pytest.raises(ValueError, match="'ring' is registered already: choose another name"):
        register_convolution("ring")(ring)
    assert sphere_conv("ring", 1, 1, at) == (1, 1, at, 3), "the first one stays"


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_starts_as_the_identity_and_learns(kind, at):
    block = ResidualBlock(4, at, (kind, kind))
    x = torch.randn(2, 768, 4)
    assert torch.equal(block(x), x)
    optimizer = torch.optim.SGD(block.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (block(x) - x.roll(1, 2)).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_number_of_threads_changes_no_bit(kind, at, on_threads):
    block, x = ResidualBlock(24, at, (kind, kind)), torch.randn(1, 768, 24)
    torch.nn.init.normal_(block.conv2.weight)
    with torch.no_grad():
        assert torch.equal(on_threads(1, lambda: block(x)), on_threads(2, lambda: block(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_trained_in_bfloat16(kind, at):
    block, x = ResidualBlock(8, at, (kind, kind)), torch.randn(2, 768, 8)
    torch.nn.init.normal_(block.conv2.weight, std=0.1)
    exact = block(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = block(x)
    y.float().square().mean().backward()
    assert (y - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())
