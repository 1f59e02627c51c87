"""Networks of integers: equal to arithmetic in Python's integers, in any order; and trainable."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from deepsphere_codec.entropy.exact import ACTIVATION_LIMIT, ExactConv, round_straight, with_gradient_of
from deepsphere_codec.layers import FacePadding
from deepsphere_codec.sphere import HealpixGrid

NSIDE = 8
GRID = HealpixGrid(NSIDE)
# (dx, dy) in the order of HealpixGrid.neighbors: SW, W, NW, N, NE, E, SE, S.
STEPS = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def layer(nine_taps: bool, in_channels: int = 12, out_channels: int = 7, scale: float = 1.0, low: int = 0) -> ExactConv:
    """Its sums fall below, inside and above the clamp."""
    conv = ExactConv(in_channels, out_channels, FacePadding(GRID) if nine_taps else None, low=low)
    with torch.no_grad():
        conv.weight *= scale
        conv.bias.copy_(torch.linspace(-30, 30, out_channels))
    return conv.double()


def activations(channels: int = 12, batch: int = 2) -> torch.Tensor:
    a = torch.randint(ACTIVATION_LIMIT + 1, (batch, GRID.npix, channels))
    return torch.where(torch.rand(a.shape) < 0.2, ACTIVATION_LIMIT, a).double()


def by_python_integers(conv: ExactConv, a: torch.Tensor) -> np.ndarray:
    """The layer in whole numbers: weights and sums in units of 2^-10. Objects, so numpy adds Python's own integers."""

    def units(p: torch.Tensor) -> np.ndarray:
        steps = np.clip(p.detach().numpy().astype(np.float64), -32, 32) * 1024
        return np.vectorize(round, otypes=[object])(steps)  # halves to even, as torch rounds

    weight, bias = units(conv.weight), units(conv.bias)
    x = np.vectorize(int, otypes=[object])(a.numpy())
    total = x @ weight[:, :, conv.weight.shape[2] // 2, conv.weight.shape[3] // 2].T + bias
    if conv.padding is not None:
        for (dx, dy), neighbor in zip(STEPS, GRID.neighbors.T, strict=True):
            there = (neighbor >= 0)[:, None]
            total = total + np.where(there, x[:, np.maximum(neighbor, 0)], 0) @ weight[:, :, 1 + dy, 1 + dx].T
    return np.clip((total + 512) // 1024, conv.low, conv.limit)


@pytest.mark.parametrize("nine_taps", [True, False])
@pytest.mark.parametrize("scale", [1.0, 100.0])  # the larger one is clamped to ±32
@pytest.mark.parametrize("low", [0, -255])
def test_float64_equals_pythons_integers(nine_taps, scale, low):
    conv, a = layer(nine_taps, scale=scale, low=low), activations()
    y = conv(a)
    assert (y.detach().numpy() == by_python_integers(conv, a).astype(np.float64)).all()


@pytest.mark.parametrize("nine_taps", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weights_and_inputs_are_exact_to_the_last_unit(nine_taps, sign):
    """As wide as the widest layers are (256 latents, a memory of 640), nearly at their limits; no clamp hides it."""
    channels, taps = (256, 9) if nine_taps else (640, 1)
    conv = ExactConv(channels, 1, FacePadding(GRID) if nine_taps else None, limit=2**50, low=-(2**50)).double()
    with torch.no_grad():
        conv.weight.copy_(sign * 32 - sign * torch.randint(3, conv.weight.shape) / 1024)
        conv.bias.fill_(sign * 32)
    a = (ACTIVATION_LIMIT - torch.randint(3, (1, GRID.npix, channels))).double()
    expected = by_python_integers(conv, a)
    assert abs(expected).max() > taps * channels * 31.9 * 250, "as large as can be"
    assert (conv(a).detach().numpy() == expected.astype(np.float64)).all()


@pytest.mark.parametrize("nine_taps", [True, False])
@pytest.mark.parametrize("low, limit", [(0, 63), (0, 255), (-100, 255)])
def test_what_comes_out_is_whole_and_in_range(nine_taps, low, limit):
    conv, a = layer(nine_taps, scale=2.0 if low else 1.0, low=low), activations()
    conv.limit = limit
    y = conv(a)
    assert torch.equal(y, y.round())
    assert y.min() == low and y.max() == limit
    assert ((y > low) & (y < limit)).double().mean() > 0.1, "some of it lies inside"


@pytest.mark.parametrize("nine_taps", [True, False])
@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(nine_taps, threads, on_threads):
    conv, a = layer(nine_taps, 48, 48), activations(48, 3)
    assert torch.equal(conv(a), on_threads(threads, lambda: conv(a)))


@pytest.mark.parametrize("nine_taps", [True, False])
def test_the_order_of_summation_changes_nothing(nine_taps):
    conv, a = layer(nine_taps, 48, 48), activations(48)
    order, order_out = torch.randperm(48), torch.randperm(48)
    other = copy.deepcopy(conv)
    with torch.no_grad():
        other.weight.copy_(conv.weight[order_out][:, order])
        other.bias.copy_(conv.bias[order_out])
    assert torch.equal(other(a[..., order]), conv(a)[..., order_out])


@pytest.mark.parametrize("nine_taps", [True, False])
def test_the_library_below_changes_nothing(nine_taps):
    conv, a = layer(nine_taps, 48, 48), activations(48)
    with torch.backends.mkldnn.flags(enabled=False):
        plain = conv(a)
    assert torch.equal(conv(a), plain)


def test_float32_weights_and_their_float64_copies_give_the_same():
    """Weights are stored as float32: rounding them to the grid afterwards is the same in either type."""
    conv = layer(True).float()
    a = activations()
    assert torch.equal(conv(a), copy.deepcopy(conv).double()(a))


@pytest.mark.parametrize("nine_taps", [True, False])
def test_training_sees_the_same_numbers(nine_taps):
    """Sums of this size (below 2^14 in steps of 2^-10) are exact in float32 as well, as wide as the released model is.

    Unless the library goes by way of a transform for nine taps: then it may be off by one where a sum lies at a half.
    """
    conv, a = layer(nine_taps, 192, 48).float(), activations(192)
    exact, seen = conv(a), conv(a.float()).double()
    assert ((exact > 0) & (exact < ACTIVATION_LIMIT)).double().mean() > 0.1
    if nine_taps:
        assert (seen == exact).double().mean() > 0.999 and (seen - exact).abs().max() <= 1
    else:
        assert torch.equal(seen, exact)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("nine_taps", [True, False])
def test_a_gpu_changes_nothing(nine_taps):
    conv, a = layer(nine_taps, 192, 48), activations(192)
    assert torch.equal(copy.deepcopy(conv).cuda()(a.cuda()).cpu(), conv(a))


def test_straight_through_gradients_are_the_weights_on_the_grid():
    conv = ExactConv(1, 1).double()
    with torch.no_grad():
        conv.weight.fill_(0.7003)  # 717.1 steps
        conv.bias.fill_(3.0)
    a = torch.tensor([[[2.0]]], dtype=torch.float64, requires_grad=True)
    y = conv(a)
    y.backward()
    assert y.item() == 4  # 4.4 rounded
    assert a.grad.item() == pytest.approx(717 / 1024, abs=1e-12)
    assert conv.weight.grad.item() == pytest.approx(2.0, abs=1e-12)
    assert conv.bias.grad.item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("bias, value", [(1000.0, 255), (-1000.0, 0)])
def test_saturated_units_still_learn(bias, value):
    """The bias is held to ±32, so the input drives the unit out of range."""
    conv = ExactConv(1, 1).double()
    with torch.no_grad():
        conv.weight.fill_(30.0 if bias > 0 else -30.0)
        conv.bias.zero_()
    a = torch.tensor([[[200.0]]], dtype=torch.float64, requires_grad=True)
    y = conv(a)
    y.backward()
    assert y.item() == value
    assert conv.weight.grad.item() == pytest.approx(0.01 * 200)
    assert a.grad.item() == pytest.approx(0.01 * conv.weight.item())


@pytest.mark.parametrize("nine_taps", [True, False])
def test_every_parameter_gets_a_gradient(nine_taps):
    conv = layer(nine_taps).float()
    conv(activations().float()).sum().backward()
    for p in conv.parameters():
        assert torch.isfinite(p.grad).all() and (p.grad != 0).double().mean() > 0.9


def test_with_gradient_of_is_the_value_to_the_last_bit():
    x = torch.randn(1000) * 1e6
    value = torch.randn(1000) * 1e-3
    assert not torch.equal(x + (value - x), value), "the usual way rounds"
    x.requires_grad_()
    y = with_gradient_of(value, x)
    assert torch.equal(y, value)
    (3 * y).sum().backward()
    assert torch.equal(x.grad, torch.full((1000,), 3.0))


def test_round_straight():
    x = torch.tensor([-1.6, -0.5, 0.4, 0.5, 1.5, 7.0], requires_grad=True)
    y = round_straight(x)
    assert y.tolist() == [-2, 0, 0, 0, 2, 7]
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(6))
