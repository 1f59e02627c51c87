"""GDN against its formula and CompressAI's."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.layers import GDN


def random_gdn(inverse: bool) -> GDN:
    layer = GDN(6, inverse)
    with torch.no_grad():
        layer.beta.copy_(torch.rand(6) + 0.3)
        layer.gamma.copy_(torch.rand(6, 6) * 0.5)
    return layer


@pytest.mark.parametrize("inverse", [False, True])
def test_formula(inverse):
    layer = random_gdn(inverse).double()
    x = torch.randn(2, 48, 6, dtype=torch.float64)
    root = (layer.beta**2 + torch.einsum("bnj,ij->bni", x**2, layer.gamma**2)).sqrt()
    assert torch.allclose(layer(x), x * root if inverse else x / root, atol=1e-9)


@pytest.mark.parametrize("inverse", [False, True])
def test_equals_compressais(inverse):
    pytest.importorskip("deepsphere_codec.entropy.backend")  # imports CompressAI where torchvision is broken, too
    from compressai.layers import GDN as Oracle

    layer, oracle = random_gdn(inverse), Oracle(6, inverse)
    fresh = GDN(6, inverse)
    for name in ("beta", "gamma"):
        assert torch.allclose(getattr(fresh, name), getattr(oracle, name), atol=1e-7)
        getattr(oracle, name).data.copy_(getattr(layer, name))
    x = torch.randn(2, 48, 6)
    expected = oracle(x.permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_starts_nearly_inverse_of_its_inverse_for_small_signals():
    x = torch.randn(1, 48, 6) * 1e-3
    assert torch.allclose(GDN(6, inverse=True)(GDN(6)(x)), x, rtol=1e-4)


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients(inverse):
    layer = random_gdn(inverse).double()
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)

    def run(x, beta, gamma):
        return torch.func.functional_call(layer, {"beta": beta, "gamma": gamma}, x)

    assert torch.autograd.gradcheck(run, (x, layer.beta, layer.gamma))


def test_stays_finite_whatever_the_parameters():
    layer = GDN(3)
    with torch.no_grad():
        layer.beta.fill_(-1e-9)
        layer.gamma.zero_()
    assert torch.isfinite(layer(torch.randn(1, 12, 3))).all()
