"""Rate and distortion: their weights, counted by hand on a model that stands in."""

from __future__ import annotations

import pytest
import torch
from support import texture, turn

from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models import ModelConfig, SphereDVC, State
from deepsphere_codec.models.inter import InterOutput
from deepsphere_codec.models.intra import Picture
from deepsphere_codec.models.memory import LatentMemory
from deepsphere_codec.models.quality import inter_quality, intra_quality, lmbda_of
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.distortion import squared_error
from deepsphere_codec.training.loss import PLANE_WEIGHTS, Measure, inter_loss, intra_loss, lmbda, motion_loss

BATCH, NPIX = 2, 100
NODES = BATCH * NPIX
QUALITY = torch.tensor([2.0, 5.5])
CONFIG = ModelConfig(intra_step=1.5, inter_steps=(-1.0, 0.5))


def rate(latents: float, hyper: float) -> Rate:
    return Rate(*(torch.full((BATCH, 1), bits / BATCH) for bits in (latents, hyper)))


def lmbdas(quality: torch.Tensor) -> list[float]:
    """Of both samples."""
    return [lmbda_of(q) * 255**2 for q in quality.tolist()]


class StandIn:
    """Decodes frames with a known error, which is not the same for the three planes nor the two samples."""

    config = CONFIG

    def __init__(self) -> None:
        self.error = torch.tensor([[0.1, 0.2, 0.3], [0.05, 0.0, 0.4]])[:, None]
        self.strength = torch.ones(1, requires_grad=True)
        self.inter = StandInInter(self)
        self.qualities: list[torch.Tensor] = []

    @property
    def references(self) -> list[torch.Tensor]:
        """What P-frames were decoded from."""
        return self.inter.references

    def intra(self, x, quality):
        self.qualities.append(quality)
        return Picture(x + self.strength * self.error, torch.zeros(BATCH, 3, 5)), rate(1000.0, 100.0)


class StandInInter:
    """Its P-frames: half the error of an I-frame, whatever they refer to."""

    def __init__(self, model: StandIn) -> None:
        self.model = model
        self.references: list[torch.Tensor] = []

    def begin(self, x_hat, fine):
        return State.begin(x_hat, fine, LatentMemory.empty(fine, 2), LatentMemory.empty(fine, 4))

    def __call__(self, x, state, quality):
        self.references.append(state.x_hat)
        self.model.qualities.append(quality)
        error = self.model.error
        x_hat = x + self.model.strength * error / 2
        after = state.after(x_hat, torch.zeros(BATCH, 3, 2), torch.zeros(BATCH, 3, 4))
        return InterOutput(x_hat, x + 2 * error, x - 3 * error, rate(40.0, 10.0), rate(300.0, 50.0), after)


def frames(count: int) -> torch.Tensor:
    return torch.rand(BATCH, count, NPIX, 3)


def still(count: int) -> torch.Tensor:
    """A film in which nothing happens."""
    return torch.rand(BATCH, 1, NPIX, 3).repeat(1, count, 1, 1)


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


def cost(mse: list[float], quality: torch.Tensor) -> float:
    """λ · D, mean of both samples."""
    return sum(weight * value for weight, value in zip(lmbdas(quality), mse, strict=True)) / 2


def test_an_i_frames_loss():
    model = StandIn()
    loss = intra_loss(model, frames(3), QUALITY)
    mse = weighted(model.error)
    assert loss.bits == pytest.approx(1100 / NODES) and loss.bits_motion == 0
    assert loss.mse == pytest.approx(sum(mse) / 2) and loss.mse_y == pytest.approx((0.1**2 + 0.05**2) / 2)
    assert float(loss.total.detach()) == pytest.approx(1100 / NODES + cost(mse, QUALITY))


@pytest.mark.parametrize("chain", [1, 3])
def test_a_chains_loss_is_a_mean_over_its_p_frames_each_at_its_quality(chain):
    model = StandIn()
    loss = inter_loss(model, frames(chain + 1), QUALITY, chain, warp_weight=0.0, with_intra=False)
    mse = [value / 4 for value in weighted(model.error)]
    asked = [inter_quality(QUALITY, CONFIG, age) for age in range(chain)]
    assert loss.bits == pytest.approx(400 / NODES) and loss.bits_motion == pytest.approx(50 / NODES)
    assert loss.mse == pytest.approx(sum(mse) / 2)
    expected = sum(cost(mse, quality) for quality in asked) / chain
    assert float(loss.total.detach()) == pytest.approx(400 / NODES + expected)
    assert torch.equal(model.qualities[0], intra_quality(QUALITY, CONFIG))
    assert all(torch.equal(a, b) for a, b in zip(model.qualities[1:], asked, strict=True))


def test_warped_reference_and_prediction_count_beside_it():
    model, x = StandIn(), frames(2)
    plain, aided = (inter_loss(model, x, QUALITY, 1, weight, False) for weight in (0.0, 0.1))
    extra = [0.1 * (4 + 9) * value for value in weighted(model.error)]
    assert float((aided.total - plain.total).detach()) == pytest.approx(
        cost(extra, inter_quality(QUALITY, CONFIG, 0)), rel=1e-4
    )
    assert aided[1:] == plain[1:], "what is reported stays the coded frames'"


def test_all_frames_count_alike_with_the_i_frame():
    model = StandIn()
    loss = inter_loss(model, frames(5), QUALITY, 2, warp_weight=0.0, with_intra=True)
    mse = weighted(model.error)
    assert loss.bits == pytest.approx((1100 + 2 * 400) / (3 * NODES))
    assert loss.mse == pytest.approx(sum(mse) * (1 + 2 / 4) / 3 / 2)
    parts = [cost(mse, intra_quality(QUALITY, CONFIG))]
    parts += [cost(mse, inter_quality(QUALITY, CONFIG, age)) / 4 for age in range(2)]
    assert float(loss.total.detach()) == pytest.approx(loss.bits + sum(parts) / 3)


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


def test_frames_that_repeat_the_one_before_cost_no_bits_and_count():
    """As many as can be while the chain still fits in: three after the I-frame, then two that are coded."""
    model, x = StandIn(), still(6)
    loss = inter_loss(model, x, QUALITY, 2, 0.0, with_intra=True, skipped=1.0)
    first = x[:, 0] + model.error
    assert len(model.references) == 2 and torch.allclose(model.references[0], first)
    mse = weighted(model.error)
    assert loss.bits == pytest.approx((1100 + 2 * 400) / (6 * NODES))
    assert loss.mse == pytest.approx(sum(mse) / 2 * (4 + 2 / 4) / 6)
    qualities = [intra_quality(QUALITY, CONFIG), *(inter_quality(QUALITY, CONFIG, age) for age in range(5))]
    parts = [cost(mse, quality) / (4 if t > 3 else 1) for t, quality in enumerate(qualities)]
    assert float(loss.total.detach()) == pytest.approx(loss.bits + sum(parts) / 6)
    loss.total.backward()
    assert float(model.strength.grad) == pytest.approx(2 * sum(parts) / 6, rel=1e-4), (
        "a coded frame learns to serve them"
    )


def test_frames_after_the_chain_may_repeat_its_last():
    counts = set()
    for _ in range(40):
        model = StandIn()
        loss = inter_loss(model, still(6), QUALITY, 1, 0.0, with_intra=False, skipped=0.6)
        mse = sum(weighted(model.error)) / 2 / 4
        learned = round(350 / NODES / (loss.bits - loss.bits_motion))
        counts.add(learned)
        assert loss.mse == pytest.approx(mse), "each is as good as the one that was coded"
        assert loss.bits == pytest.approx(400 / NODES / learned)
    assert counts >= {1, 2, 3}


def test_where_much_happens_no_frame_repeats():
    """The encoder would not leave it out either, and its error would drown the others'."""
    for with_intra in (False, True):
        model = StandIn()
        loss = inter_loss(model, frames(6), QUALITY, 2, 0.0, with_intra, skipped=1.0)
        assert loss.bits == pytest.approx((1100 * with_intra + 2 * 400) / ((2 + with_intra) * NODES))


def network(narrow: dict[str, int]) -> SphereDVC:
    torch.manual_seed(3)
    return SphereDVC(ModelConfig(**narrow), PatchGrid(64, 5, 0, 0, 64))


@pytest.mark.parametrize("with_intra", [False, True])
def test_the_i_frame_learns_only_where_it_is_asked_to(narrow, with_intra):
    model = network(narrow)
    inter_loss(model, torch.rand(1, 2, 64 * 64, 3), torch.tensor([4.0]), 1, 0.1, with_intra).total.backward()
    assert any(p.grad is not None for p in model.intra.parameters()) == with_intra
    assert any(p.grad is not None for p in model.inter.parameters())


def test_the_motions_loss_is_how_far_the_warped_frame_is_off(narrow):
    """Charbonnier's error of luma in grey levels: 1 where nothing is off; no bits are counted."""
    model, q = network(narrow), torch.from_numpy(PatchGrid(64, 5, 0, 0, 64).centers)
    x = texture(q).repeat(1, 1, 3)
    moved = texture(q @ turn((0.0, 0.0, 1.0), 2.0)).repeat(1, 1, 3)
    equal, moving, new = (motion_loss(model, torch.stack([x, other], 1)) for other in (x, moved, torch.rand_like(x)))
    assert 1 <= float(equal.total) < 1.2 and equal.mse < 1e-5
    away = float((x - moved)[..., 0].square().mean())
    assert 1 <= float(moving.total) < 3 and moving.mse < 0.1 * away, "it finds most of it"
    assert float(new.total) > 50
    assert moving.bits == moving.bits_motion == 0


def test_the_motions_loss_is_learned_from_by_the_estimator_alone(narrow):
    model = network(narrow)
    motion_loss(model, torch.rand(2, 2, 64 * 64, 3)).total.backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched and all(name.startswith("inter.estimator.updates.") for name in touched)


def test_gradients_of_distortion_and_rate():
    """d/ds of λ · (s e)² is 2 λ e² at s = 1."""
    model = StandIn()
    intra_loss(model, frames(1), QUALITY).total.backward()
    mse = weighted(model.error)
    assert float(model.strength.grad) == pytest.approx(2 * cost(mse, QUALITY), rel=1e-4)


def test_what_lies_in_the_margin_counts_neither_error_nor_bits():
    """A patch of 64 nodes with 16 of margin: errors and bits are put inside and outside."""
    measure, x = Measure(margin=16), torch.zeros(1, 64 * 64, 3)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[16:-16, 16:-16] = True
    x_hat = torch.where(inside.flatten()[None, :, None], x + 0.1, x + 0.7)
    assert squared_error(measure.inner(x, 64), measure.inner(x_hat, 64))[0].tolist() == pytest.approx([0.01] * 3)
    latents = torch.full((4, 4), 1000.0)
    latents[1:-1, 1:-1] = 512.0
    assert measure.inner(latents.view(1, 16, 1), 64).flatten().tolist() == [512.0] * 4

    class Model:
        config = CONFIG

        def intra(self, x, quality):
            return Picture(x_hat, torch.zeros(1, 3, 5)), Rate(latents.view(1, 16), torch.tensor([[4096.0]]))

    loss = intra_loss(Model(), x[:, None], torch.tensor([3.0]), measure)
    assert loss.bits == pytest.approx(512 / 256 + 4096 / 4096) and loss.mse == pytest.approx(0.01)
    assert float(loss.total) == pytest.approx(loss.bits + lmbda_of(3.0) * 255**2 * 0.01)
