"""Exponential and logarithm map against great circles written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deepsphere_codec.sphere import exp_map, log_map, project

X, Y, Z = torch.eye(3, dtype=torch.float64)
LENGTHS = [0.0, 1e-12, 1e-6, 0.03, 0.0317, 0.5, math.pi / 2, 3.0, 3.1415]


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Points and unit tangents at them."""
    generator = torch.Generator().manual_seed(1)
    p, u = torch.randn(2, count, 3, generator=generator, dtype=torch.float64)
    p = torch.nn.functional.normalize(p, dim=-1)
    return p, torch.nn.functional.normalize(u - (p * u).sum(-1, keepdim=True) * p, dim=-1)


def test_project() -> None:
    torch.testing.assert_close(project(Z, X + 5 * Z), X)
    p, _ = pairs(50)
    u = torch.randn(50, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    once = project(p, u)
    assert (once * p).sum(-1).abs().max() < 1e-14
    torch.testing.assert_close(project(p, once), once, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", LENGTHS)
def test_exp_map_walks_a_great_circle(length: float) -> None:
    p, u = pairs(50)
    expected = math.cos(length) * p + math.sin(length) * u
    torch.testing.assert_close(exp_map(p, length * u), expected, rtol=0, atol=1e-15)


def test_exp_map_quarter_turn_is_exact() -> None:
    torch.testing.assert_close(exp_map(X, math.pi / 2 * Y), Y, rtol=0, atol=1e-15)
    torch.testing.assert_close(exp_map(Z, math.pi * X), -Z, rtol=0, atol=1e-15)
    assert torch.equal(exp_map(X, torch.zeros(3, dtype=torch.float64)), X)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_map_inverts_exp_map(length: float, dtype: torch.dtype) -> None:
    p, u = (vectors.to(dtype) for vectors in pairs(200))
    v = length * u
    # Near the antipode a rounding error of the point turns the direction by error / (pi - length).
    allowed = 32 * torch.finfo(dtype).eps * (1 + 1 / (math.pi - length))
    torch.testing.assert_close(log_map(p, exp_map(p, v)), v, rtol=0, atol=allowed)


def test_log_map_of_small_steps_keeps_its_digits() -> None:
    angle = 1e-5
    p = torch.tensor([1.0, 0.0, 0.0])
    q = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
    assert abs(float(log_map(p, q)[1]) / angle - 1) < 1e-6


def test_log_map_of_the_same_and_the_opposite_point() -> None:
    p, _ = pairs(20)
    assert torch.equal(log_map(p, p), torch.zeros_like(p))
    for point in (X, Y, Z, -Y):
        v = log_map(point, -point)
        assert abs(float(v.norm()) - math.pi) < 1e-14 and abs(float((v * point).sum())) < 1e-14


def test_gradients_at_zero_and_elsewhere() -> None:
    p, u = pairs(6)
    lengths = torch.tensor([0.0, 0.0, 1e-4, 0.031, 0.7, 2.5], dtype=torch.float64)[:, None]
    v = (lengths * u).requires_grad_()
    assert torch.autograd.gradcheck(exp_map, (p, v))
    q = exp_map(p, v).detach().requires_grad_()
    assert torch.autograd.gradcheck(log_map, (p, q))
