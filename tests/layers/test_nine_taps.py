"""The 3×3 convolution of training: the same as `conv2d`, gradients included, however many nodes there are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deepsphere_codec.layers.nine_taps import nine_taps

SIZES = [(1, 3, 3), (2, 10, 10), (3, 7, 12), (1, 40, 40)]
"""Images, rows and columns; the last is beyond what nine products are quicker for."""


def images(size: tuple[int, int, int], channels: int) -> torch.Tensor:
    count, height, width = size
    return torch.randn(count, height, width, channels, dtype=torch.float64).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_conv2d_and_its_gradients(size, bias):
    x, weight, b = images(size, 3).requires_grad_(), torch.randn(5, 3, 3, 3).double(), torch.randn(5).double()
    leaves = [x, weight.requires_grad_(), *([b.requires_grad_()] if bias else [])]
    outputs = [call(*leaves) for call in (nine_taps, F.conv2d)]
    towards = torch.randn_like(outputs[0])
    found, expected = (torch.autograd.grad(y, leaves, towards) for y in outputs)
    assert torch.allclose(*outputs, rtol=0, atol=1e-12)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-10)


def test_of_a_view_that_is_not_channels_last():
    x = torch.randn(2, 4, 9, 9).requires_grad_()
    weight = torch.randn(6, 4, 3, 3)
    towards = torch.randn(2, 6, 7, 7)
    found, expected = (torch.autograd.grad(call(x, weight), x, towards)[0] for call in (nine_taps, F.conv2d))
    assert torch.allclose(found, expected, atol=1e-4)


def test_gradients_have_the_type_of_what_they_are_of():
    x, weight = images((2, 6, 6), 4).float().requires_grad_(), torch.randn(5, 4, 3, 3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = nine_taps(x, weight, torch.zeros(5))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, weight).sum(), (x, weight))
    for p, g in zip((x, weight), expected, strict=True):
        assert p.grad.dtype == torch.float32 and (p.grad - g).norm() < 0.02 * g.norm()


def test_without_training_it_is_conv2d_to_the_bit():
    x, weight = images((2, 6, 6), 4).float(), torch.randn(5, 4, 3, 3).requires_grad_()
    with torch.no_grad():
        assert torch.equal(nine_taps(x, weight), F.conv2d(x, weight))
