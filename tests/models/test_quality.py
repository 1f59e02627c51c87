"""The quality bank: eight learned rows, geometric in between; and the trade-off that goes with a quality."""

from __future__ import annotations

import math

import pytest
import torch

from deepsphere_codec.models import ModelConfig
from deepsphere_codec.models.quality import LAMBDAS, QualityBank, inter_quality, intra_quality, lmbda_of


def bank(channels: int = 5) -> QualityBank:
    module = QualityBank(channels)
    torch.nn.init.normal_(module.log_gain)
    return module.requires_grad_(False)


def gains(module: QualityBank, *qualities: float) -> torch.Tensor:
    return module(torch.tensor(qualities, dtype=torch.float32))


def test_whole_qualities_hit_the_rows():
    module = bank()
    found = gains(module, *range(1, 9))
    assert found.shape == (8, 1, 5)
    assert torch.allclose(found[:, 0], module.log_gain.exp(), rtol=1e-6)


@pytest.mark.parametrize("mix", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("below", [1, 4, 7])
def test_geometric_in_between(below, mix):
    module = bank()
    low, between, high = gains(module, below, below + mix, below + 1)
    assert torch.allclose(between, low ** (1 - mix) * high**mix, rtol=1e-5)


def test_qualities_outside_are_those_at_the_ends():
    module = bank()
    assert torch.equal(gains(module, -3, 0.99, 8.01, 50), gains(module, 1, 1, 8, 8))


def test_each_sample_of_a_batch_has_its_own():
    module = bank()
    together = gains(module, 7.25, 1, 3.5)
    assert torch.equal(together, torch.cat([gains(module, q) for q in (7.25, 1, 3.5)]))


def test_starts_where_it_is_told_and_grows_monotonously():
    found = gains(QualityBank(3, start=0.5, growth=2**0.5), *[1 + i / 4 for i in range(29)])[:, 0]
    assert torch.allclose(found[0], torch.tensor(0.5)) and torch.allclose(found[-1], torch.tensor(0.5 * 2**3.5))
    assert (found[1:] > found[:-1]).all()


def test_gradients_reach_the_two_rows_around():
    module = QualityBank(2)
    module(torch.tensor([3.25])).sum().backward()
    share = module.log_gain.grad[:, 0] / module.log_gain.grad[:, 0].sum()
    assert torch.allclose(share, torch.tensor([0, 0, 0.75, 0.25, 0, 0, 0, 0]))


def test_trade_off_doubles_with_each_quality():
    assert LAMBDAS == pytest.approx((0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024), rel=1e-12)
    assert [lmbda_of(q) for q in range(1, 9)] == pytest.approx(LAMBDAS)
    assert lmbda_of(2.5) == pytest.approx(math.sqrt(LAMBDAS[1] * LAMBDAS[2]))
    assert all(high / low == pytest.approx(2) for low, high in zip(LAMBDAS, LAMBDAS[1:], strict=False))


def test_frames_are_coded_some_steps_from_the_quality_asked_for():
    config = ModelConfig(intra_step=1.5, layer_steps=(-1, 0, 0.25, 2))
    assert intra_quality(3.0, config) == 4.5
    assert [inter_quality(3.0, config, layer) for layer in range(4)] == [2, 3, 3.25, 5]
    assert torch.equal(inter_quality(torch.tensor([3.0, 8.0]), config, 0), torch.tensor([2.0, 7.0]))
