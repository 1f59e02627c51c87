"""The codec on tensors: decoded is what the encoder said, to the last bit, with any number of threads."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import ScaleHyperprior
from deepsphere_codec.layers import mix_channels
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

QUALITIES = [1.0, 4.3, 8.0]


@pytest.fixture(scope="module")
def apart(lively: SphereDVC) -> SphereDVC:
    """Another network with the same weights and tables, as another process has it."""
    return copy.deepcopy(lively)


@pytest.mark.parametrize("quality", QUALITIES)
def test_an_i_frame_decodes_to_what_the_encoder_said(lively, apart, pictures, quality):
    coded = lively.encode_intra(pictures[0], quality)
    assert torch.equal(apart.decode_intra(coded.payload, quality), coded.x_hat)
    assert coded.x_hat.shape == pictures[0].shape and coded.x_hat.dtype == torch.float32


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_p_frame_decodes_to_what_the_encoder_said(lively, apart, pictures, quality):
    x_ref, x = pictures
    coded = lively.encode_inter(x, x_ref, quality)
    assert torch.equal(apart.decode_inter(coded.payload, x_ref, quality), coded.x_hat)
    assert not torch.equal(coded.x_hat, x_ref)


def test_a_chain_of_frames_decodes_alike(lively, apart, pictures):
    """No drift: each P-frame refers to the decoded frame before it."""
    coded = lively.encode_intra(pictures[0], 3.0)
    x_hat = apart.decode_intra(coded.payload, 3.0)
    for x in (pictures[1], pictures[0], pictures[1]):
        coded = lively.encode_inter(x, coded.x_hat, 3.0)
        x_hat = apart.decode_inter(coded.payload, x_hat, 3.0)
        assert torch.equal(x_hat, coded.x_hat)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_neither_bytes_nor_pictures(lively, pictures, threads, on_threads):
    x_ref, x = pictures
    intra, inter = lively.encode_intra(x_ref, 4.0), lively.encode_inter(x, x_ref, 4.0)
    many = on_threads(threads, lambda: (lively.encode_intra(x_ref, 4.0), lively.encode_inter(x, x_ref, 4.0)))
    assert [coded.payload for coded in many] == [intra.payload, inter.payload]
    assert all(torch.equal(a.x_hat, b.x_hat) for a, b in zip(many, (intra, inter), strict=True))
    assert torch.equal(on_threads(threads, lambda: lively.decode_intra(intra.payload, 4.0)), intra.x_hat)
    assert torch.equal(on_threads(threads, lambda: lively.decode_inter(inter.payload, x_ref, 4.0)), inter.x_hat)


def test_threads_change_no_wide_mix_of_channels(on_threads):
    """From 256 channels on, conv2d's two kernels, for one thread and for many, round differently (torch 2.13)."""
    x, weight, bias = torch.randn(1, 768, 384), torch.randn(384, 128), torch.randn(128)
    assert torch.equal(mix_channels(x, weight, bias), on_threads(2, lambda: mix_channels(x, weight, bias)))


@pytest.mark.slow
def test_threads_change_nothing_at_full_width(make_lively, pictures, on_threads):
    """Other widths take other kernels."""
    network = make_lively(ModelConfig(), HealpixGrid.cached(64))
    x_ref, x = pictures
    intra, inter = network.encode_intra(x_ref, 5.5), network.encode_inter(x, x_ref, 5.5)
    for threads in (2, 3, 4):
        assert on_threads(threads, lambda: network.encode_intra(x_ref, 5.5)).payload == intra.payload
        assert on_threads(threads, lambda: network.encode_inter(x, x_ref, 5.5)).payload == inter.payload
        assert torch.equal(on_threads(threads, lambda: network.decode_intra(intra.payload, 5.5)), intra.x_hat)
        assert torch.equal(on_threads(threads, lambda: network.decode_inter(inter.payload, x_ref, 5.5)), inter.x_hat)


def test_threads_change_nothing_on_a_patch(make_lively, tiny, on_threads):
    network = make_lively(tiny, PatchGrid(256, 2, 64, 128, 64))
    x_ref, x = torch.rand(2, 1, 64 * 64, 3)
    coded = network.encode_inter(x, x_ref, 4.0)
    assert on_threads(2, lambda: network.encode_inter(x, x_ref, 4.0)).payload == coded.payload
    assert torch.equal(network.decode_inter(coded.payload, x_ref, 4.0), coded.x_hat)


def test_quality_reaches_the_bytes(lively, pictures):
    x_ref, x = pictures
    sizes = [len(lively.encode_intra(x_ref, q).payload) + len(lively.encode_inter(x, x_ref, q).payload) for q in (1, 8)]
    assert sizes[1] > 1.3 * sizes[0]


def test_i_frames_are_coded_a_step_above_the_quality_asked_for(lively, tiny, pictures):
    """What a whole GOP refers to earns more bits; beyond the last quality there is nothing."""
    plain = SphereDVC(replace(tiny, intra_step=0.0), HealpixGrid.cached(64)).eval()
    fill(plain, dict(lively.named_parameters()), {})
    plain.build_tables()
    step = tiny.intra_step
    assert step > 0
    for asked, coded in ((3.0, 3.0 + step), (7.9, 8.0), (8.0, 8.0)):
        assert lively.encode_intra(pictures[0], asked).payload == plain.encode_intra(pictures[0], coded).payload
    assert lively.encode_inter(*pictures, 3.0).payload == plain.encode_inter(*pictures, 3.0).payload


def test_the_wrong_quality_decodes_to_another_picture(lively, pictures):
    """The symbols do not depend on it; their scale does."""
    coded = lively.encode_intra(pictures[0], 3.0)
    assert not torch.equal(lively.decode_intra(coded.payload, 3.1), coded.x_hat)


def test_training_sees_what_the_codec_makes(lively, pictures):
    """forward() with rounded latents is the codec: the same picture, and the bits of the file."""
    network = copy.deepcopy(lively)
    for module in network.modules():
        if isinstance(module, ScaleHyperprior):  # at a scale of 7 nothing is skipped
            module.h_s[-1].weight.zero_()
            module.h_s[-1].bias.fill_(44)
    x_ref, x = pictures
    quality = torch.tensor([4.0])
    coded, coded_p = network.encode_intra(x_ref, 4.0), network.encode_inter(x, x_ref, 4.0)
    x_hat, rate = network.intra(x_ref, quality + network.config.intra_step, straight=True)
    out = network.inter(x, x_ref, quality, straight=True)
    assert torch.allclose(x_hat, coded.x_hat, atol=1e-4) and torch.allclose(out.x_hat, coded_p.x_hat, atol=1e-4)
    bits = [float(part.latents + part.hyper) for part in (rate, out.rate_motion, out.rate_residual)]
    assert 8 * len(coded.payload) == pytest.approx(bits[0], rel=0.05)
    assert 8 * len(coded_p.payload) == pytest.approx(bits[1] + bits[2], rel=0.05)


def test_fresh_weights_repeat_the_reference(tiny, pictures):
    """Zero motion, nothing compensated, no residual: whatever the latents are, a P-frame starts as its reference."""
    network = SphereDVC(tiny, HealpixGrid.cached(64)).eval()
    network.build_tables()
    x_ref, x = pictures
    coded = network.encode_inter(x, x_ref, 4.0)
    assert (coded.x_hat - x_ref).abs().max() < 1e-7
    out = network.inter(x, x_ref, torch.tensor([4.0]), straight=True)
    assert torch.equal(out.x_warp, x_ref), "no motion, to the last bit"
    assert (out.x_pred - x_ref).abs().max() < 1e-7 and (out.x_hat - x_ref).abs().max() < 1e-7


def test_motion_latents_come_before_the_residuals(lively, pictures):
    """Both read from one payload, in order; nothing is left over that another frame's symbols could be read from."""
    x_ref, x = pictures
    writer = SymbolWriter()
    quality = torch.tensor([4.0])
    with torch.no_grad():
        motion = lively.inter.motion_latents.write(lively.inter.analyse_motion(x, x_ref), quality, writer)
        _, f_pred = lively.inter.predict(motion, x_ref)
        residual = lively.inter.residual_latents.write(lively.inter.analyse_residual(x, f_pred), quality, writer)
        payload = writer.finish()
        assert payload == lively.encode_inter(x, x_ref, 4.0).payload
        reader = SymbolReader(payload)
        assert torch.equal(lively.inter.motion_latents.read(reader, torch.empty_like(motion), quality), motion)
        assert torch.equal(lively.inter.residual_latents.read(reader, torch.empty_like(residual), quality), residual)


def test_training_reaches_every_weight(tiny, make_lively):
    network = make_lively(tiny, PatchGrid(64, 3, 0, 0, 64)).train().requires_grad_(True)
    x, x_ref = torch.rand(2, 2, 64 * 64, 3)
    quality = torch.tensor([2.5, 6.0])
    x_hat, rate = network.intra(x, quality, straight=False)
    out = network.inter(x, x_ref, quality, straight=False)
    rates = [rate, out.rate_motion, out.rate_residual]
    loss = (
        sum(part.latents + part.hyper for part in rates) + (x_hat - x).square().sum() + (out.x_hat - x).square().sum()
    )
    loss.backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(name.endswith("prior.quantiles") for name in untouched), untouched
