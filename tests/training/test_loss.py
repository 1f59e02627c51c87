"""Rate and distortion: their weights, counted by hand on a model that stands in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.data.patches import PatchBatch
from deepsphere_codec.entropy.hyperprior import Rate
from deepsphere_codec.models import ModelConfig, References, SphereDVC, State
from deepsphere_codec.models.dvc import MOTION_SHARE
from deepsphere_codec.models.inter import InterOutput
from deepsphere_codec.models.intra import Picture
from deepsphere_codec.models.memory import LatentMemory
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.quality import inter_quality, intra_quality, lmbda_of
from deepsphere_codec.motion.tree import MotionTree
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training import loss as losses
from deepsphere_codec.training.distortion import squared_error
from deepsphere_codec.training.loss import PLANE_WEIGHTS, Measure, inter_loss, intra_loss, lmbda
from deepsphere_codec.training.objective import Objective
from deepsphere_codec.training.order import PicturePlace
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.stored_trees import motion_lmbda

BATCH, NPIX = 2, 100
NODES = BATCH * NPIX
QUALITY = torch.tensor([2.0, 5.5])
CONFIG = ModelConfig(intra_step=1.5, layer_steps=(-1.0, -1.5, -2.0, -2.5))
ORDER = [
    PicturePlace(2, 0, None, 0),
    PicturePlace(1, 0, 2, 1),
    PicturePlace(3, 2, 0, 0),
    PicturePlace(7, 3, 2, 0),
    PicturePlace(5, 3, 7, 1),
    PicturePlace(4, 3, 5, 2),
    PicturePlace(6, 5, 7, 2),
]
"""Groups of two, one and four pictures."""


def rate(latents: float, hyper: float) -> Rate:
    return Rate(*(torch.full((BATCH, 1), bits / BATCH) for bits in (latents, hyper)))


def lmbdas(quality: torch.Tensor) -> list[float]:
    """Of both samples."""
    return [lmbda_of(q) * 255**2 for q in quality.tolist()]


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beginning of ORDER, whatever would be drawn."""
    monkeypatch.setattr(losses, "random_order", lambda count: [each for each in ORDER if each.number < count])


class StandIn:
    """Decodes frames with a known error, which is not the same for the three planes nor the two samples."""

    config = CONFIG
    pyramid = None

    def __init__(self) -> None:
        self.error = torch.tensor([[0.1, 0.2, 0.3], [0.05, 0.0, 0.4]])[:, None]
        self.strength = torch.ones(1, requires_grad=True)
        self.inter = StandInInter(self)
        self.qualities: list[torch.Tensor] = []

    @property
    def references(self) -> list[References]:
        """The references of each P- and B-frame."""
        return self.inter.references

    def intra(self, x, quality):
        self.qualities.append(quality)
        return Picture(x + self.strength * self.error, torch.zeros(BATCH, 3, 5)), rate(1000.0, 100.0)


class StandInInter:
    """Its P- and B-frames: half the error of an I-frame, whatever they refer to."""

    def __init__(self, model: StandIn) -> None:
        self.model = model
        self.references: list[References] = []
        self.motion_weights: list[np.ndarray] = []

    def begin(self, x_hat, fine):
        return State.begin(x_hat, fine, LatentMemory.empty(fine, 4))

    def find_motion(self, x, references, weight):
        self.motion_weights.append(weight)
        return [MotionTree(np.full((1, 1, 1, 6), i, np.int16), np.zeros((1, 1, 1), np.int8)) for i in range(BATCH)]

    def __call__(self, x, references, motion, quality):
        assert motion.fields[:, 0, 0].tolist() == list(range(BATCH))
        self.references.append(references)
        self.model.qualities.append(quality)
        error = self.model.error
        x_hat = x + self.model.strength * error / 2
        return InterOutput(x_hat, x - 3 * error, rate(300.0, 50.0), torch.zeros(BATCH, 3, 4))


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
    assert loss.bits == pytest.approx(1100 / NODES)
    assert loss.mse == pytest.approx(sum(mse) / 2) and loss.mse_y == pytest.approx((0.1**2 + 0.05**2) / 2)
    assert float(loss.total.detach()) == pytest.approx(1100 / NODES + cost(mse, QUALITY))


@pytest.mark.parametrize("chain", [2, 3, 7])
def test_a_chains_loss_is_a_mean_over_its_frames_each_at_its_quality(ordered, chain):
    model = StandIn()
    loss = inter_loss(model, frames(chain + 1), QUALITY, chain, with_intra=False)
    mse = [value / 4 for value in weighted(model.error)]
    asked = [inter_quality(QUALITY, CONFIG, place.layer) for place in ORDER if place.number <= chain]
    assert loss.bits == pytest.approx(350 / NODES)
    assert loss.mse == pytest.approx(sum(mse) / 2)
    expected = sum(cost(mse, quality) for quality in asked) / chain
    assert float(loss.total.detach()) == pytest.approx(350 / NODES + expected)
    assert torch.equal(model.qualities[0], intra_quality(QUALITY, CONFIG)[:, None])
    assert all(torch.equal(a, b[:, None]) for a, b in zip(model.qualities[1:], asked, strict=True))
    assert all(np.array_equal(a, motion_lmbda(b)) for a, b in zip(model.inter.motion_weights, asked, strict=True))


def test_an_i_frame_is_coded_at_the_quality_that_its_loss_is_taken_at():
    model = StandIn()
    intra_loss(model, frames(1), QUALITY)
    (asked,) = model.qualities
    assert torch.equal(asked, QUALITY[:, None])


def test_each_picture_of_a_chain_is_coded_at_the_quality_that_its_loss_is_taken_at(ordered):
    model = StandIn()
    inter_loss(model, frames(5), QUALITY, 3, with_intra=True)
    expected = [intra_quality(QUALITY, CONFIG), *(inter_quality(QUALITY, CONFIG, place.layer) for place in ORDER[:3])]
    assert [place.layer for place in ORDER[:3]] == [0, 1, 0]
    assert all(torch.equal(a, b[:, None]) for a, b in zip(model.qualities, expected, strict=True))


@pytest.mark.parametrize("part", ["intra", "inter", "all"])
def test_a_stage_takes_the_loss_of_its_part_at_the_quality_of_the_samples(narrow, part):
    model, x = network(narrow), torch.rand(2, 3, 64 * 64, 3)
    objective = Objective(model, Schedule(part=part, chain=2))

    def expected(quality: torch.Tensor) -> float:
        torch.manual_seed(5)
        if part == "intra":
            return float(intra_loss(model, x, quality).total.detach())
        return float(inter_loss(model, x, quality, 2, with_intra=part == "all").total.detach())

    torch.manual_seed(5)
    found = float(objective(PatchBatch(x, QUALITY, model.pyramid.grids[0])).total.detach())
    assert found == pytest.approx(expected(QUALITY), rel=1e-6) and found != pytest.approx(expected(QUALITY + 0.1))


def test_motion_counts_as_much_as_its_error_stays():
    expected = [MOTION_SHARE * PLANE_WEIGHTS[0] * value for value in lmbdas(QUALITY)]
    assert motion_lmbda(QUALITY).tolist() == pytest.approx(expected)


def test_all_frames_count_alike_with_the_i_frame(ordered):
    model = StandIn()
    loss = inter_loss(model, frames(5), QUALITY, 2, with_intra=True)
    mse = weighted(model.error)
    assert loss.bits == pytest.approx((1100 + 2 * 350) / (3 * NODES))
    assert loss.mse == pytest.approx(sum(mse) * (1 + 2 / 4) / 3 / 2)
    parts = [cost(mse, intra_quality(QUALITY, CONFIG))]
    parts += [cost(mse, inter_quality(QUALITY, CONFIG, place.layer)) / 4 for place in ORDER[:2]]
    assert float(loss.total.detach()) == pytest.approx(loss.bits + sum(parts) / 3)


@pytest.mark.parametrize("with_intra", [False, True])
def test_each_frame_refers_to_decoded_ones(ordered, with_intra):
    model, x = StandIn(), frames(8)
    inter_loss(model, x, QUALITY, 7, with_intra)
    decoded = [x[:, 0] + model.error, *(x[:, number] + model.error / 2 for number in range(1, 8))]
    assert len(model.references) == len(ORDER)
    for references, place in zip(model.references, ORDER, strict=True):
        assert references.distances == place.distances
        assert torch.allclose(references.first.x_hat, decoded[place.first])
        assert (references.second is None) == (place.second is None)
        if place.second is not None:
            assert torch.allclose(references.second.x_hat, decoded[place.second])
        assert references.first.x_hat.requires_grad == (with_intra or place.first > 0), "gradients flow along"


def test_chains_begin_anywhere_and_what_lies_before_is_not_learned_from():
    x, starts = frames(6), []
    for _ in range(60):
        model = StandIn()
        loss = inter_loss(model, x, QUALITY, 2, with_intra=False)
        starts.append(len(model.references) - 2)
        loss.total.backward()
        learned = [any(state.x_hat.requires_grad for state in each.states) for each in model.references]
        assert not any(learned[:-1]), "of the two that are learned from, only the last can refer to the other"
    assert set(starts) == {0, 1, 2, 3}


def test_with_the_i_frame_the_chain_begins_at_it():
    for _ in range(5):
        model = StandIn()
        inter_loss(model, frames(6), QUALITY, 2, with_intra=True)
        assert len(model.references) == 2


def test_p_frames_before_the_chain_may_repeat_their_reference(monkeypatch):
    """Those of a film in which nothing happens; a picture that is learned from is coded."""
    monkeypatch.setattr(
        losses, "random_order", lambda count: [PicturePlace(t, t - 1, None, 0) for t in range(1, count)]
    )
    counts = set()
    for _ in range(20):
        model, x = StandIn(), still(6)
        loss = inter_loss(model, x, QUALITY, 1, with_intra=False, skipped=1 - 1e-9)
        first = x[:, 0] + model.error
        (references,) = model.references
        assert torch.allclose(references.first.x_hat, first) and not references.first.residual.last.any()
        assert loss.bits == pytest.approx(350 / NODES)
        counts.add(references.first.distances)
    assert counts == {(0, 0), (-1, 0)}, "the I-frame itself, or a P-frame that repeats it"


def test_where_much_happens_no_frame_repeats():
    """The encoder would not leave it out either, and its error would drown the others'."""
    starts = set()
    for _ in range(20):
        model = StandIn()
        loss = inter_loss(model, frames(6), QUALITY, 2, with_intra=False, skipped=1 - 1e-9)
        assert loss.bits == pytest.approx(350 / NODES)
        starts.add(len(model.references) - 2)
    assert len(starts) > 1


def test_blocks_count_as_their_quality_says(monkeypatch):
    """With a map the squared error of each block counts by the block's own trade-off."""
    patch = PatchGrid(256, 5, 0, 0, 128)
    asked = torch.tensor([[2.0, 4.0, 5.0, 7.0]])
    monkeypatch.setattr(losses, "_mapped", lambda model, quality, share: asked)
    error = torch.rand(1, patch.npix, 3)

    class Model:
        config, pyramid = CONFIG, Pyramid(patch)

        def intra(self, x, quality):
            assert quality is asked
            return Picture(x + error, torch.zeros(1, 3, 5)), Rate(torch.zeros(1, 1), torch.zeros(1, 1))

    loss = intra_loss(Model(), torch.rand(1, 1, patch.npix, 3), torch.tensor([4.5]), maps=0.5)
    squares = (error.square()[0] @ torch.tensor(PLANE_WEIGHTS)).view(2, 64, 2, 64).mean((1, 3)).flatten()
    expected = sum(float(square) * value for square, value in zip(squares, lmbdas(asked[0]), strict=True)) / 4
    assert float(loss.total) == pytest.approx(expected, rel=1e-4)
    assert loss.mse == pytest.approx(float(squares.mean()), rel=1e-4), "what is reported is the plain error"


def test_maps_are_random_and_only_as_often_as_asked(narrow):
    model = SphereDVC(ModelConfig(**narrow), PatchGrid(256, 5, 0, 0, 128))
    drawn = [losses._mapped(model, QUALITY, 0.5) for _ in range(60)]
    flat = sum(each.shape == (BATCH, 1) for each in drawn)
    assert 15 < flat < 45 and all(torch.equal(each, QUALITY[:, None]) for each in drawn if each.shape[1] == 1)
    maps = torch.stack([each for each in drawn if each.shape[1] > 1]) - QUALITY[:, None]
    assert maps.shape[1:] == (BATCH, 4) and torch.equal(4 * maps, (4 * maps).round()) and maps.abs().max() <= 7
    assert maps.std() > 0.5
    assert all(losses._mapped(model, QUALITY, 0.0).shape == (BATCH, 1) for _ in range(5))


def network(narrow: dict[str, int]) -> SphereDVC:
    torch.manual_seed(3)
    return SphereDVC(ModelConfig(**narrow), PatchGrid(64, 5, 0, 0, 64))


@pytest.mark.parametrize("with_intra", [False, True])
def test_the_i_frame_learns_only_where_it_is_asked_to(narrow, with_intra):
    model = network(narrow)
    x = torch.rand(1, 3, 64 * 64, 3)
    inter_loss(model, x, torch.tensor([4.0]), 2, with_intra, maps=0.5).total.backward()
    assert any(p.grad is not None for p in model.intra.parameters()) == with_intra
    assert any(p.grad is not None for p in model.inter.parameters())


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
        config, pyramid = CONFIG, None

        def intra(self, x, quality):
            return Picture(x_hat, torch.zeros(1, 3, 5)), Rate(latents.view(1, 16), torch.tensor([[4096.0]]))

    loss = intra_loss(Model(), x[:, None], torch.tensor([3.0]), measure=measure)
    assert loss.bits == pytest.approx(512 / 256 + 4096 / 4096) and loss.mse == pytest.approx(0.01)
    assert float(loss.total) == pytest.approx(loss.bits + lmbda_of(3.0) * 255**2 * 0.01)
