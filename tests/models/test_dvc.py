"""The codec on tensors: decoded is what the encoder said, to the last bit, with any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support import psnr

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import Hyperprior
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers import mix_channels
from deepsphere_codec.models import Coded, ModelConfig, References, SphereDVC, State
from deepsphere_codec.models.payload import InterPayload
from deepsphere_codec.models.quality import inter_quality, intra_quality
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

QUALITIES = [1.0, 4.3, 8.0]
QUALITY = 7.0
FLAGS = {"still": 0, "new": 4, "turned": 5, "moved": 6, "both": 7}
"""First byte of a P-frame by what happens in a film."""


@pytest.fixture(scope="module")
def apart(lively: SphereDVC) -> SphereDVC:
    """Another network with the same weights and tables, as another process has it."""
    return copy.deepcopy(lively)


def begin(network: SphereDVC, x: torch.Tensor) -> State:
    """A state whose picture is exact, after an I-frame that had latents."""
    generator = torch.Generator().manual_seed(2)
    fine = (40 * torch.randn(1, x.shape[1] // 256, network.config.intra_latents, generator=generator)).round()
    return network.inter.begin(x, fine)


@pytest.fixture(scope="module")
def coded(lively, films) -> dict[str, tuple[State, Coded]]:
    """The second frame of each film, after the state that it was coded with."""
    made = {}
    for name, (x_ref, x) in films.items():
        state = begin(lively, x_ref)
        made[name] = state, lively.encode_inter(x, References(state), QUALITY, 0)
    return made


def same(a: State, b: State) -> bool:
    """Picture and memories, to the last bit."""
    pairs = zip((a.x_hat, a.intra, *a.motion, *a.residual), (b.x_hat, b.intra, *b.motion, *b.residual), strict=True)
    return a.age == b.age and all(torch.equal(x, y) for x, y in pairs)


# What is decoded


@pytest.mark.parametrize("quality", QUALITIES)
def test_an_i_frame_decodes_to_what_the_encoder_said(lively, apart, pictures, quality):
    payload, state = lively.encode_intra(pictures[0], quality)
    assert same(apart.decode_intra(payload, quality), state)
    assert state.x_hat.shape == pictures[0].shape and state.x_hat.dtype == torch.float32
    assert state.intra.any() and state.age == 0


@pytest.mark.parametrize("film", FLAGS)
def test_a_p_frame_decodes_to_what_the_encoder_said_whatever_parts_it_has(apart, coded, film):
    state, (payload, after) = coded[film]
    assert payload[0] == FLAGS[film]
    assert same(apart.decode_inter(payload, References(state), QUALITY, 0), after)
    parts = InterPayload.unpack(payload)
    assert bool(after.motion.last.any()) == (parts.motion is not None)
    assert bool(after.residual.last.any()) == (parts.residual is not None)


@pytest.mark.parametrize("film", ["new", "turned", "moved", "both"])
def test_a_p_frame_is_worth_its_bytes(films, coded, film):
    (x_ref, x), (_, (_, after)) = films[film], coded[film]
    assert psnr(x, after.x_hat) > psnr(x, x_ref) + 1


def test_where_nothing_moves_a_p_frame_is_one_byte(coded):
    state, (payload, after) = coded["still"]
    assert payload == b"\0"
    assert torch.equal(after.x_hat, state.x_hat), "the reference, bit for bit"


def test_a_chain_of_frames_decodes_alike(lively, apart, films):
    """No drift: each P-frame refers to the picture and the latents decoded before it; also after one that repeats."""
    payload, state = lively.encode_intra(films["both"][0], QUALITY)
    mine = apart.decode_intra(payload, QUALITY)
    repeated = []
    for x in (films["both"][1], None, films["new"][1], films["moved"][1]):
        x = state.x_hat if x is None else x
        payload, after = lively.encode_inter(x, References(state), QUALITY, 0)
        mine = apart.decode_inter(payload, References(mine), QUALITY, 0)
        assert same(mine, after) and after.age == state.age + 1
        assert (mine.check == state.check) == (len(payload) == 1), "each frame that brings something counts"
        if len(payload) == 1:
            repeated.append((state, after))
        state = after
    assert len(repeated) == 1
    before, after = repeated[0]
    assert before.residual.last.any() and not after.residual.last.any() and not after.motion.last.any()
    assert after.residual.activity.max() <= 0.75 * before.residual.activity.max(), "memories fade"


def test_what_is_remembered_is_decoded_with(apart, coded):
    """Another memory, other probabilities: from the same bytes comes another frame, or none."""
    state, (payload, after) = coded["new"]
    other = state._replace(intra=(state.intra + 100).clamp_max(255))
    try:
        assert not same(apart.decode_inter(payload, References(other), QUALITY, 0)._replace(intra=state.intra), after)
    except DamagedStream:
        pass


def test_parts_hold_what_they_say(lively, coded):
    """A turn within the camera's, motion latents for the motion's reader, the residual's for its own."""
    state, (payload, after) = coded["both"]
    parts = InterPayload.unpack(payload)
    assert parts.pack() == payload and parts.turn.any()
    asked = torch.tensor([inter_quality(QUALITY, lively.config, 0)])
    with torch.no_grad():
        motion = lively.inter.read_motion(SymbolReader(parts.motion), state, asked)
        assert torch.equal(motion.fine.double().clamp(-255, 255), after.motion.last)
        pred = lively.inter.predict(motion.y_hat, state.x_hat, parts.turn)
        x_hat, _ = lively.inter.read_residual(SymbolReader(parts.residual), state, pred, asked)
    assert torch.equal(x_hat, after.x_hat)


# Threads


def test_threads_change_neither_bytes_nor_pictures(lively, films, coded, on_threads):
    x_ref, x = films["both"]
    state, inter = coded["both"]
    intra = lively.encode_intra(x_ref, QUALITY)
    for threads in (2, 4):
        first, second = on_threads(
            threads,
            lambda: (lively.encode_intra(x_ref, QUALITY), lively.encode_inter(x, References(state), QUALITY, 0)),
        )
        assert first.payload == intra.payload and same(first.state, intra.state)
        assert second.payload == inter.payload and same(second.state, inter.state)
        assert same(on_threads(threads, lambda: lively.decode_intra(intra.payload, QUALITY)), intra.state)
        assert same(
            on_threads(threads, lambda: lively.decode_inter(inter.payload, References(state), QUALITY, 0)), inter.state
        )


def test_threads_change_no_wide_mix_of_channels(on_threads):
    """From 256 channels on, conv2d's two kernels, for one thread and for many, round differently (torch 2.13)."""
    x, weight, bias = torch.randn(1, 768, 384), torch.randn(384, 128), torch.randn(128)
    assert torch.equal(mix_channels(x, weight, bias), on_threads(2, lambda: mix_channels(x, weight, bias)))


@pytest.mark.slow
def test_threads_change_nothing_at_full_width(make_lively, films, on_threads):
    """Other widths take other kernels."""
    network = make_lively(ModelConfig(), HealpixGrid.cached(64))
    x_ref, x = films["both"]
    intra = network.encode_intra(x_ref, QUALITY)
    inter = network.encode_inter(x, References(intra.state), QUALITY, 0)
    assert inter.payload[0] & FLAGS["new"]

    def moved() -> torch.Tensor:  # by motion that is coded, whether it pays here or not
        y = network.inter.analyse_motion(x, intra.state.x_hat)
        motion = network.inter.motion_latents.write(y, torch.tensor([QUALITY]), SymbolWriter(), intra.state.motion.both)
        return network.inter.predict(motion.y_hat, intra.state.x_hat).folded

    for threads in (2, 3, 4):
        assert torch.equal(on_threads(threads, moved), moved())
        assert on_threads(threads, lambda: network.encode_intra(x_ref, QUALITY)).payload == intra.payload
        assert (
            on_threads(threads, lambda: network.encode_inter(x, References(intra.state), QUALITY, 0)).payload
            == inter.payload
        )
        assert same(on_threads(threads, lambda: network.decode_intra(intra.payload, QUALITY)), intra.state)
        assert same(
            on_threads(threads, lambda: network.decode_inter(inter.payload, References(intra.state), QUALITY, 0)),
            inter.state,
        )


def test_threads_change_nothing_on_a_patch(make_lively, tiny, on_threads):
    network = make_lively(tiny, PatchGrid(256, 2, 64, 128, 64))
    x_ref, x = torch.rand(2, 1, 64 * 64, 3)
    state = begin(network, x_ref)
    coded = network.encode_inter(x, References(state), QUALITY, 0)
    assert len(coded.payload) > 1
    assert on_threads(2, lambda: network.encode_inter(x, References(state), QUALITY, 0)).payload == coded.payload
    assert same(network.decode_inter(coded.payload, References(state), QUALITY, 0), coded.state)


# Quality


def test_quality_reaches_the_bytes(lively, films):
    x_ref, x = films["both"]
    intra = [lively.encode_intra(x_ref, quality) for quality in (1.0, 8.0)]
    assert len(intra[1].payload) > 1.3 * len(intra[0].payload)
    state = begin(lively, x_ref)
    inter = [len(lively.encode_inter(x, References(state), quality, 0).payload) for quality in (5.0, 8.0)]
    assert inter[1] > 1.3 * inter[0] > 1.3


def test_frames_are_coded_at_their_own_qualities(lively, tiny, films, coded):
    """What a whole GOP refers to earns more bits, what is soon replaced fewer; beyond the ends there is nothing."""
    plain = SphereDVC(replace(tiny, intra_step=0.0, inter_steps=(0.0,)), HealpixGrid.cached(64)).eval()
    fill(plain, dict(lively.named_parameters()), {})
    plain.build_tables()
    assert tiny.intra_step > 0 > tiny.inter_steps[0]
    x_ref, x = films["new"]
    for asked in (3.0, 7.9):
        expected = plain.encode_intra(x_ref, min(8.0, intra_quality(asked, tiny)))
        assert lively.encode_intra(x_ref, asked).payload == expected.payload
    state, (payload, _) = coded["new"]
    assert payload == plain.encode_inter(x, References(state), inter_quality(QUALITY, tiny, 0), 0).payload
    assert payload != plain.encode_inter(x, References(state), QUALITY, 0).payload


def test_the_wrong_quality_decodes_to_another_picture(lively, pictures):
    """The symbols do not depend on it; their scale does."""
    coded = lively.encode_intra(pictures[0], 3.0)
    assert not torch.equal(lively.decode_intra(coded.payload, 3.1).x_hat, coded.state.x_hat)


# Training


def test_training_sees_what_the_codec_makes(lively, films):
    """forward() with rounded latents is the codec: the same picture, and the bits of the file."""
    network = copy.deepcopy(lively)
    for module in network.modules():
        if isinstance(module, Hyperprior):  # a scale of 18 for all: nothing is skipped, nothing far out
            module.join.weight.zero_()
            module.join.bias.fill_(32)
            module.level.weight.fill_(52 / 32 / module.level.weight.shape[1])
            module.level.bias.zero_()
    x_ref, x = films["moved"]
    state, asked = begin(network, x_ref), torch.tensor([inter_quality(QUALITY, network.config, 0)])
    intra, inter = network.encode_intra(x_ref, QUALITY), network.encode_inter(x, References(state), QUALITY, 0)
    assert inter.payload[0] == FLAGS["moved"]
    with torch.no_grad():
        picture, rate = network.intra(x_ref, torch.tensor([intra_quality(QUALITY, network.config)]), straight=True)
        out = network.inter(x, state, asked, straight=True)
    assert torch.allclose(picture.x_hat, intra.state.x_hat, atol=1e-4)
    assert torch.allclose(out.x_hat, inter.state.x_hat, atol=1e-4)
    for seen, kept in ((network.inter.begin(*picture), intra.state), (out.state, inter.state)):
        assert all(
            torch.equal(a, b)
            for a, b in zip((*seen.motion, *seen.residual), (*kept.motion, *kept.residual), strict=True)
        )
        assert torch.equal(seen.intra, kept.intra)
    bits = [float(part.bits) for part in (rate, out.rate_motion, out.rate_residual)]
    parts = InterPayload.unpack(inter.payload)
    for payload, estimated in zip((intra.payload, parts.motion, parts.residual), bits, strict=True):
        assert 8 * len(payload) == pytest.approx(estimated, rel=0.05, abs=100)


def test_training_reaches_every_weight(tiny, make_lively):
    """But the motion estimator's, which have a loss of their own."""
    network = make_lively(tiny, PatchGrid(64, 3, 0, 0, 64)).train().requires_grad_(True)
    x, x_ref = torch.rand(2, 2, 64 * 64, 3)
    quality = torch.tensor([2.5, 6.0])
    picture, rate = network.intra(x_ref, quality)
    first = network.inter(x, network.inter.begin(*picture), quality)
    second = network.inter(x_ref, first.state, quality)  # only now there is a memory
    rates = [rate, *(part for out in (first, second) for part in (out.rate_motion, out.rate_residual))]
    errors = [(a - b).square().sum() for a, b in ((picture.x_hat, x_ref), (first.x_hat, x), (second.x_hat, x_ref))]
    (sum(part.bits for part in rates) + sum(errors)).backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(name.endswith("prior.quantiles") or ".estimator." in name for name in untouched), untouched


# What no encoder writes


@pytest.mark.parametrize("flags", [1, 2, 3, 8, 12, 255])
def test_a_first_byte_that_means_nothing_is_damaged(lively, coded, flags):
    state, (payload, _) = coded["both"]
    with pytest.raises(DamagedStream, match="means nothing"):
        lively.decode_inter(bytes([flags]) + payload[1:], References(state), QUALITY, 0)


@pytest.mark.parametrize("film", ["new", "turned", "moved", "both"])
def test_a_p_frame_that_ends_early_is_damaged_or_another_picture(lively, coded, film):
    """Cut anywhere: never another error."""
    state, (payload, after) = coded[film]
    head = 1 + 6 * (FLAGS[film] & 1)
    for length in {0, 1, head - 1, head, head + 3, head + 7}:
        with pytest.raises(DamagedStream):
            lively.decode_inter(payload[:length], References(state), QUALITY, 0)
    try:
        assert not same(lively.decode_inter(payload[: len(payload) // 2], References(state), QUALITY, 0), after)
    except DamagedStream:
        pass


def test_an_i_frame_of_nothing_is_damaged(lively):
    for payload in (b"", b"\0" * 4, b"\0" * 100):
        with pytest.raises(DamagedStream):
            lively.decode_intra(payload, QUALITY)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_of_chance_are_damaged_or_a_picture(lively, coded, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = bytes(torch.randint(256, (3000,), generator=generator).tolist())
    state, _ = coded["both"]
    for flags in (4, 7):
        try:
            decoded = lively.decode_inter(bytes([flags]) + noise, References(state), QUALITY, 0)
            assert decoded.x_hat.isfinite().all()
        except DamagedStream:
            pass


Spoil = Callable[[SphereDVC], object]


def scale(factor: float) -> Spoil:
    return lambda network: network.inter.motion_s.straight.mix.weight.mul_(factor)


def spoil_motion(network: SphereDVC) -> None:
    network.inter.motion_s.layers[-1].bias.fill_(float("nan"))


def spoil_residual(network: SphereDVC) -> None:
    network.inter.g_s.finish[-1].bias.fill_(float("inf"))


def spoil_compensation(network: SphereDVC) -> None:
    network.inter.compensation.layers[-1].bias.fill_(float("nan"))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (scale(1e4), "moves a point by .* radians; less than half a circle is possible"),
        (scale(1e30), "moves a point by"),
        (spoil_motion, "moves a point by nan radians"),
        (spoil_residual, "numbers beyond all bounds"),
        (spoil_compensation, "numbers beyond all bounds"),
    ],
    ids=["far", "overflow", "nan", "residual", "compensation"],
)
def test_numbers_that_no_film_has_are_damaged(lively, coded, spoil, message):
    network = copy.deepcopy(lively)
    spoil(network)
    state, (payload, _) = coded["both"]
    with pytest.raises(DamagedStream, match=message):
        network.decode_inter(payload, References(state), QUALITY, 0)


def test_an_i_frame_beyond_all_bounds_is_damaged(lively, pictures):
    network = copy.deepcopy(lively)
    payload, _ = network.encode_intra(pictures[0], QUALITY)
    network.intra.g_s.finish[-1].bias.fill_(float("nan"))
    with pytest.raises(DamagedStream, match="numbers beyond all bounds"):
        network.decode_intra(payload, QUALITY)
