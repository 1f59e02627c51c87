"""Prediction in scale space: the scale's law, and the whole codec with it, exact from encoder to decoder."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers.blur import Blur
from deepsphere_codec.models import ModelConfig, References, SphereDVC
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.ssf import ScaleSpace
from deepsphere_codec.models.zoo import load_model, save_model
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.loss import inter_loss

NPIX, WORK = 12 * 64**2, 12 * 16**2


@pytest.fixture(scope="module")
def ssf(tiny: ModelConfig) -> ModelConfig:
    return replace(tiny, family="ssf")


@pytest.fixture(scope="module")
def space(ssf: ModelConfig, pyramid: Pyramid) -> ScaleSpace:
    return ScaleSpace(ssf, pyramid)


@pytest.fixture(scope="module")
def blurring(ssf, make_lively) -> SphereDVC:
    """A lively network whose scales lie about 1, some of them below zero."""
    network = make_lively(ssf, HealpixGrid.cached(64))
    last = network.inter.motion_s.layers[-1]
    last.weight[2] *= 40
    last.bias[2] = 1.0
    return network


@pytest.fixture(scope="module")
def frames(films) -> tuple[Tensor, Tensor]:
    """An object moves and gets out of focus."""
    x_ref, x = films["moved"]
    return x_ref, Blur(HealpixGrid.cached(64))(x)


def work(value: float) -> Tensor:
    return torch.full((1, WORK, 1), value)


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_nothing_asked_for_is_nothing_blurred(space, pictures, value):
    x_ref = pictures[0]
    pred = space(x_ref, torch.zeros_like(x_ref), work(value))
    assert torch.equal(pred.x_warp, x_ref)
    v = torch.full_like(x_ref, 0.01)
    assert torch.equal(space(x_ref, v, work(value)).x_warp, space.pyramid.warp(0)(x_ref, v))


def test_one_is_one_level(space, pictures):
    x_ref = pictures[0]
    pred = space(x_ref, torch.zeros_like(x_ref), work(1.0))
    assert torch.allclose(pred.x_warp, Blur(HealpixGrid.cached(64))(x_ref), atol=1e-6)
    assert pred.folded.shape == (1, WORK, 48)


def test_the_scale_spreads_smoothly_over_the_nodes(space, pictures):
    """One node of the coarse grid, in the middle of a face: what it changes fades within two nodes of that grid."""
    x_ref, scale = pictures[0], work(0.0)
    scale[0, (5 * 16 + 8) * 16 + 8] = 3.0
    changed = (space(x_ref, torch.zeros_like(x_ref), scale).x_warp != x_ref).any(-1).view(12, 64, 64)
    rows, columns = changed[5].nonzero().unbind(1)
    assert not changed[:5].any() and not changed[6:].any()
    assert 28 < rows.min() and rows.max() < 39 and 28 < columns.min() and columns.max() < 39


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_scale_that_is_no_number_is_a_damaged_stream(space, pictures, value):
    scale = work(1.0)
    scale[0, 5] = value
    with torch.no_grad(), pytest.raises(DamagedStream, match="scale beyond all bounds"):
        space(pictures[0], torch.zeros_like(pictures[0]), scale)


def test_a_huge_scale_is_the_last_level(space, pictures):
    x_ref = pictures[0]
    with torch.no_grad():
        huge, last = (space(x_ref, torch.zeros_like(x_ref), work(s)).x_warp for s in (1e30, 5.0))
    assert torch.equal(huge, last)


@pytest.mark.parametrize("start", [0.0, -1.0, 8.0])
def test_the_scale_can_be_learned_from_anywhere(space, pictures, start):
    """Where it is clamped, it still moves to where the blur pays, and not further away."""
    x_ref = pictures[0]
    truth = space(x_ref, torch.zeros_like(x_ref), work(2.0)).x_warp.detach()
    scale = torch.full((1, WORK, 1), start, requires_grad=True)
    (space(x_ref, torch.zeros_like(x_ref), scale).x_warp - truth).square().sum().backward()
    assert (scale.grad.sum() > 0) == (start > 2)
    if start:
        assert (scale.grad >= 0).all() if start > 2 else (scale.grad <= 0).all()


def test_fresh_weights_repeat_the_reference(ssf, pictures):
    network = SphereDVC(ssf, HealpixGrid.cached(64)).eval()
    network.build_tables()
    x_ref, x = pictures
    with torch.no_grad():
        state = network.inter.begin(x_ref, torch.zeros(1, 12 * 16, ssf.intra_latents))
        out = network.inter(x, state, torch.tensor([4.0]), straight=True)
    assert out.x_warp.shape == x.shape and torch.allclose(out.x_pred, out.x_warp, atol=1e-6)
    assert network.inter.motion_s.layers[-1].weight.shape[0] == 3
    assert torch.equal(network.inter.predict(None, x_ref).x_warp, x_ref)


@pytest.mark.parametrize("quality", [2.0, 7.5])
def test_a_chain_of_frames_decodes_to_what_the_encoder_said(blurring, frames, quality):
    """In another network with the same weights and tables, as another process has it."""
    apart = copy.deepcopy(blurring)
    coded = blurring.encode_intra(frames[0], quality)
    state = apart.decode_intra(coded.payload, quality)
    for x in (frames[1], frames[0]):
        coded = blurring.encode_inter(x, References(coded.state), quality, 0)
        state = apart.decode_inter(coded.payload, References(state), quality, 0)
        assert all(torch.equal(a, b) for a, b in zip(state, coded.state, strict=False) if isinstance(a, Tensor))
        assert torch.equal(state.x_hat, coded.state.x_hat)


def predicted(network: SphereDVC, frames: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """From real latents: the warped reference, and the scale at each node of the work grid."""
    x_ref, x = frames
    with torch.no_grad():
        y = network.inter.analyse_motion(x, x_ref).round()
        return network.inter.predict(y, x_ref).x_warp, network.inter.motion_s(y)[..., 2]


def test_threads_change_nothing(blurring, frames, on_threads):
    x_warp, scale = predicted(blurring, frames)
    assert scale.min() < 0 < 1 < scale.max(), "sharp and blurred nodes, or this tells nothing"
    assert torch.equal(on_threads(2, lambda: predicted(blurring, frames)[0]), x_warp)
    intra = blurring.encode_intra(frames[0], 5.0)
    inter = blurring.encode_inter(frames[1], References(intra.state), 5.0, 0)
    assert inter.payload[0], "it is coded"
    assert (
        on_threads(2, lambda: blurring.encode_inter(frames[1], References(intra.state), 5.0, 0)).payload
        == inter.payload
    )
    state = on_threads(2, lambda: blurring.decode_inter(inter.payload, References(intra.state), 5.0, 0))
    assert torch.equal(state.x_hat, inter.state.x_hat)


def test_training_reaches_every_weight(ssf, make_lively):
    network = make_lively(ssf, PatchGrid(64, 3, 0, 0, 64)).train().requires_grad_(True)
    x = torch.rand(2, 3, 64 * 64, 3)
    inter_loss(network, x, torch.tensor([2.5, 6.0]), 2, 0.1, with_intra=True).total.backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    others = [name for name in untouched if not name.startswith("inter.estimator.")]  # it is trained on its own
    assert all(name.endswith("prior.quantiles") for name in others), others
    assert network.inter.motion_s.layers[-1].weight.grad[2].any(), "the scale learns"


def test_a_patch_that_moves_predicts_as_a_new_one(ssf, make_lively):
    here, there = PatchGrid(256, 2, 64, 128, 64), PatchGrid(256, 8, 0, 192, 64)
    moved, new = make_lively(ssf, here), make_lively(ssf, there)
    x_ref, y = torch.rand(1, 64 * 64, 3), torch.randn(1, 16, ssf.motion_latents)
    moved.pyramid.place(there)
    for network in (moved, new):
        network.inter.motion_s.layers[-1].bias[2] = 1.5
    moved, new = (network.inter.predict(y, x_ref).x_warp.detach() for network in (moved, new))
    assert torch.equal(moved, new)


def test_a_released_model_is_read_again(blurring, frames, tmp_path):
    save_model(tmp_path, "sphere-ssf", copy.deepcopy(blurring), {})
    model = load_model(tmp_path)
    network = model.network(64)
    assert model.config.family == "ssf" and type(network.inter.compensation) is ScaleSpace
    intra = network.encode_intra(frames[0], 5.0)
    inter = network.encode_inter(frames[1], References(intra.state), 5.0, 0)
    assert torch.equal(network.decode_inter(inter.payload, References(intra.state), 5.0, 0).x_hat, inter.state.x_hat)
