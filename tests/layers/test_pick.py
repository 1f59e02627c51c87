"""Picking nodes is indexing, with the same gradient."""

from __future__ import annotations

import torch

from deepsphere_codec.layers.pick import pick


def test_equals_indexing_and_its_gradient():
    x, nodes = torch.randn(2, 20, 3, requires_grad=True), torch.randperm(20)[:7]
    towards = torch.randn(2, 7, 3)
    found, expected = pick(x, nodes), x[:, nodes]
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(y, x, towards)[0] for y in (found, expected)]
    assert torch.equal(*gradients)


def test_of_no_nodes():
    x = torch.randn(2, 5, 3, requires_grad=True)
    y = pick(x, torch.zeros(0, dtype=torch.long))
    assert y.shape == (2, 0, 3)
    y.sum().backward()
    assert not x.grad.any()


def test_second_derivatives():
    x, nodes = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True), torch.tensor([4, 0, 3])
    assert torch.autograd.gradgradcheck(lambda x: pick(x, nodes).pow(3), x)
