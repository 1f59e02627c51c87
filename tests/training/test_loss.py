"""Rate and distortion: their weights, counted by hand on a model that stands in."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.inter import InterOutput
from deepsphere_codec.models.quality import lmbda_of
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.loss import PLANE_WEIGHTS, inter_loss, intra_loss, lmbda, squared_error

BATCH, NPIX = 2, 100
NODES = BATCH * NPIX
QUALITY = torch.tensor([2.0, 5.5])
LMBDAS = [lmbda_of(q) * 255**2 for q in QUALITY.tolist()]


def rate(latents: float, hyper: float) -> Rate:
    return Rate(torch.tensor(latents), torch.tensor(hyper))


class StandIn:
    """Decodes frames with a known error, which is not the same for the three planes nor the two samples."""

    def __init__(self) -> None:
        self.error = torch.tensor([[0.1, 0.2, 0.3], [0.05, 0.0, 0.4]])[:, None]
        self.strength = torch.ones(1, requires_grad=True)
        self.references: list[torch.Tensor] = []

    def intra(self, x, quality):
        return x + self.strength * self.error, rate(1000.0, 100.0)

    def inter(self, x, x_ref, quality):
        self.references.append(x_ref)
        warp, pred = x + 2 * self.error, x - 3 * self.error
        return InterOutput(x + self.strength * self.error / 2, warp, pred, rate(40.0, 10.0), rate(300.0, 50.0))


def frames(count: int) -> torch.Tensor:
    return torch.rand(BATCH, count, NPIX, 3)


def weighted(error: torch.Tensor) -> list[float]:
    """(6 Y + U + V) / 8 of the squared error, for each sample."""
    return [float((6 * e[0] ** 2 + e[1] ** 2 + e[2] ** 2) / 8) for e in error[:, 0]]


def test_planes_weigh_as_in_the_figure_that_is_reported():
    assert PLANE_WEIGHTS == (6 / 8, 1 / 8, 1 / 8)


@pytest.mark.parametrize("quality", [1.0, 3.7, 8.0])
def test_the_trade_off_is_the_models(quality):
    assert float(lmbda(torch.tensor([quality]))) == pytest.approx(lmbda_of(quality) * 255**2)


def test_squared_error_is_a_mean_over_nodes():
    x = torch.zeros(2, 4, 3)
    x_hat = x.clone()
    x_hat[0, 1, 2] = 2.0
    assert squared_error(x, x_hat).tolist() == [[0, 0, 1], [0, 0, 0]]


def test_an_i_frames_loss():
    model = StandIn()
    loss = intra_loss(model, frames(3), QUALITY)
    mse = weighted(model.error)
    assert loss.bits == pytest.approx(1100 / NODES) and loss.bits_motion == 0
    assert loss.mse == pytest.approx(sum(mse) / 2) and loss.mse_y == pytest.approx((0.1**2 + 0.05**2) / 2)
    assert float(loss.total.detach()) == pytest.approx(1100 / NODES + (LMBDAS[0] * mse[0] + LMBDAS[1] * mse[1]) / 2)


@pytest.mark.parametrize("chain", [1, 3])
def test_a_chains_loss_is_a_mean_over_its_p_frames(chain):
    model = StandIn()
    loss = inter_loss(model, frames(6), QUALITY, chain, warp_weight=0.0, with_intra=False)
    mse = [value / 4 for value in weighted(model.error)]
    assert loss.bits == pytest.approx(400 / NODES) and loss.bits_motion == pytest.approx(50 / NODES)
    assert loss.mse == pytest.approx(sum(mse) / 2)
    assert float(loss.total.detach()) == pytest.approx(400 / NODES + (LMBDAS[0] * mse[0] + LMBDAS[1] * mse[1]) / 2)


def test_warped_reference_and_prediction_count_beside_it():
    model, x = StandIn(), frames(3)
    plain, aided = (inter_loss(model, x, QUALITY, 2, weight, False) for weight in (0.0, 0.1))
    extra = [0.1 * (4 + 9) * value for value in weighted(model.error)]
    assert float((aided.total - plain.total).detach()) == pytest.approx(
        (LMBDAS[0] * extra[0] + LMBDAS[1] * extra[1]) / 2, rel=1e-4
    )
    assert aided[1:] == plain[1:], "what is reported stays the coded frames'"


def test_all_frames_count_alike_with_the_i_frame():
    model = StandIn()
    loss = inter_loss(model, frames(5), QUALITY, 2, warp_weight=0.0, with_intra=True)
    mse = [(value + 2 * value / 4) / 3 for value in weighted(model.error)]
    assert loss.bits == pytest.approx((1100 + 2 * 400) / (3 * NODES))
    assert loss.mse == pytest.approx(sum(mse) / 2)
    assert float(loss.total.detach()) == pytest.approx(loss.bits + (LMBDAS[0] * mse[0] + LMBDAS[1] * mse[1]) / 2)


@pytest.mark.parametrize("with_intra", [False, True])
def test_each_p_frame_refers_to_the_one_decoded_before_it(with_intra):
    model, x = StandIn(), frames(4)
    inter_loss(model, x, QUALITY, 3, 0.0, with_intra)
    decoded = [x[:, 0] + model.error, x[:, 1] + model.error / 2, x[:, 2] + model.error / 2]
    assert all(torch.allclose(a, b) for a, b in zip(model.references, decoded, strict=True))
    learned = [reference.requires_grad for reference in model.references]
    assert learned == [with_intra, True, True], "gradients flow along the chain"


def test_chains_begin_anywhere_and_what_lies_before_is_not_learned_from():
    x, starts = frames(6), []
    for _ in range(60):
        model = StandIn()
        inter_loss(model, x, QUALITY, 2, 0.0, with_intra=False)
        learned = [reference.requires_grad for reference in model.references]
        starts.append(len(learned) - 2)
        assert learned == [False] * (starts[-1] + 1) + [True]
        last = x[:, len(learned) - 1] + model.error / 2
        assert torch.allclose(model.references[-1], last), "each is decoded from the one before all the same"
    assert set(starts) == {0, 1, 2, 3}


def test_with_the_i_frame_the_chain_begins_at_it():
    for _ in range(5):
        model = StandIn()
        inter_loss(model, frames(6), QUALITY, 2, 0.0, with_intra=True)
        assert len(model.references) == 2


def test_the_i_frame_learns_only_where_it_is_asked_to():
    config = ModelConfig(4, 4, 4, 4, 4, 4, 4, 4)
    x = torch.rand(1, 2, 64 * 64, 3)
    for with_intra in (False, True):
        model = SphereDVC(config, PatchGrid(64, 0, 0, 0, 64))
        inter_loss(model, x, torch.tensor([4.0]), 1, 0.1, with_intra).total.backward()
        assert any(p.grad is not None for p in model.intra.parameters()) == with_intra
        assert any(p.grad is not None for p in model.inter.parameters())


def test_gradients_of_distortion_and_rate():
    """d/ds of λ · (s e)² is 2 λ e² at s = 1."""
    model = StandIn()
    intra_loss(model, frames(1), QUALITY).total.backward()
    mse = weighted(model.error)
    assert float(model.strength.grad) == pytest.approx(LMBDAS[0] * mse[0] + LMBDAS[1] * mse[1], rel=1e-4)
