"""The codec on tensors: decoded is what the encoder said, to the last bit, with any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import one_thread, psnr
from torch.utils._python_dispatch import TorchDispatchMode
from trees import same_tree, uniform_tree

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.entropy.hyperprior import SliceParameters
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers import mix_channels
from deepsphere_codec.models import CodedPicture, ModelConfig, References, SphereDVC, State
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.quality import inter_quality, intra_quality
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.syntax import Setting
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

QUALITIES = [1.0, 4.3, 8.0]
QUALITY = 7.0
FLAGS = {"still": 0, "new": 6, "turned": 7, "moved": 6, "both": 7}
"""First byte of a P-frame by what happens in a film: 1 turned, 2 moved, 4 latents."""


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
def coded(lively, films) -> dict[str, tuple[State, CodedPicture]]:
    """The second frame of each film, after the state that it was coded with."""
    made = {}
    with one_thread():
        for name, (x_ref, x) in films.items():
            state = begin(lively, x_ref)
            made[name] = state, lively.encode_inter(x, References(state), QUALITY, 0)
    return made


def same(a: State, b: State) -> bool:
    """Picture, tree and memories, to the last bit."""
    pairs = zip((a.x_hat, a.intra, *a.residual), (b.x_hat, b.intra, *b.residual), strict=True)
    trees = (a.tree is None) == (b.tree is None) and (a.tree is None or same_tree(a.tree, b.tree))
    return trees and a.distances == b.distances and a.check == b.check and all(torch.equal(x, y) for x, y in pairs)


# What is decoded


@pytest.mark.parametrize("quality", QUALITIES)
def test_an_i_frame_decodes_to_what_the_encoder_said(lively, apart, pictures, quality):
    payload, state = lively.encode_intra(pictures[0], quality)
    assert same(apart.decode_intra(payload, quality), state)
    assert state.x_hat.shape == pictures[0].shape and state.x_hat.dtype == torch.float32
    assert state.intra.any() and state.tree is None and not state.residual.both.any()


@pytest.mark.parametrize("film", FLAGS)
def test_a_p_frame_decodes_to_what_the_encoder_said_whatever_parts_it_has(apart, coded, film):
    state, (payload, after) = coded[film]
    assert payload[0] == FLAGS[film]
    assert same(apart.decode_inter(payload, References(state), QUALITY, 0), after)
    parts = Payload.unpack(payload)
    assert (after.tree is not None) == (parts.motion is not None)
    assert bool(after.residual.last.any()) == (parts.latents is not None)


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
    state = mine = begin(lively, films["both"][0])
    repeated = []
    for x in (films["both"][1], None, films["new"][1], films["moved"][1]):
        x = state.x_hat if x is None else x
        payload, after = lively.encode_inter(x, References(state), QUALITY, 0)
        mine = apart.decode_inter(payload, References(mine), QUALITY, 0)
        assert same(mine, after)
        assert mine.check != state.check, "each frame counts"
        if len(payload) == 1:
            repeated.append((state, after))
        state = after
    assert len(repeated) == 1
    before, after = repeated[0]
    assert before.residual.last.any() and not after.residual.last.any() and after.tree is None
    assert after.residual.activity.max() <= 0.75 * before.residual.activity.max(), "memories fade"


def test_what_is_remembered_is_decoded_with(apart, coded):
    """Another memory, other probabilities: from the same bytes comes another frame, or none."""
    state, (payload, after) = coded["new"]
    other = state._replace(intra=(state.intra + 100).clamp_max(127))
    try:
        assert not same(apart.decode_inter(payload, References(other), QUALITY, 0)._replace(intra=state.intra), after)
    except DamagedStream:
        pass


def test_parts_hold_what_they_say(lively, coded):
    """A turn within the camera's, a tree for the motion's reader, latents for the residual's."""
    state, (payload, after) = coded["both"]
    parts, references = Payload.unpack(payload), References(state)
    assert parts.pack() == payload and parts.turn.any()
    quality = torch.tensor([inter_quality(QUALITY, lively.config, 0)])
    with torch.no_grad():
        tree = lively.inter.read_motion(SymbolReader(parts.motion), references)
        assert same_tree(tree, after.tree)
        motion = Motion.of([tree])
        seen = lively.inter.see(lively.inter.predict(references, motion, parts.turn))
        context = lively.inter.context(references, motion)
        x_hat, _ = lively.inter.read_residual(SymbolReader(parts.latents), context, seen, quality)
    assert torch.equal(x_hat, after.x_hat)


# Two references


@pytest.fixture(scope="module")
def pair(lively, films) -> tuple[State, State]:
    """Two decoded pictures."""
    with one_thread():
        return tuple(lively.encode_intra(x, QUALITY).state for x in films["both"])


@pytest.mark.parametrize("distances", [(-1, -2), (-1, -9), (-1, 1), (-4, 4)], ids=str)
@pytest.mark.parametrize("layer", [0, 3])
def test_a_picture_with_two_references_decodes_to_what_the_encoder_said(lively, apart, films, pair, distances, layer):
    references = References(*pair, distances)
    x = sum(films["both"]) / 2
    payload, after = lively.encode_inter(x, references, QUALITY, layer)
    assert len(payload) > 1 and after.distances == distances
    assert same(apart.decode_inter(payload, references, QUALITY, layer), after)


def test_a_hierarchy_decodes_alike(lively, apart, films):
    """A group of four behind an I-frame, each picture with the trees of others before it, all coded and decoded."""
    x_ref, x = films["both"]
    shown = [x_ref + (x - x_ref) * i / 4 for i in range(5)]
    first = lively.encode_intra(x_ref, QUALITY)
    encoder, decoder = {0: first.state}, {0: apart.decode_intra(first.payload, QUALITY)}
    for number, past, future, layer in ((4, 0, None, 0), (2, 0, 4, 1), (1, 0, 2, 2), (3, 2, 4, 2)):
        distances = past - number, 0 if future is None else future - number
        made = lively.encode_inter(
            shown[number], References(encoder[past], encoder.get(future), distances), QUALITY, layer
        )
        encoder[number] = made.state
        references = References(decoder[past], decoder.get(future), distances)
        decoder[number] = apart.decode_inter(made.payload, references, QUALITY, layer)
        assert same(decoder[number], encoder[number])


def test_the_check_depends_on_each_reference(lively, films, pair):
    """Also where a picture repeats the first: what it is decoded from is another."""
    first, second = pair
    x = sum(films["both"]) / 2
    payload, after = lively.encode_inter(x, References(first, second, (-1, 1)), QUALITY, 2)
    for references in (
        References(first._replace(check=first.check ^ 1), second, (-1, 1)),
        References(first, second._replace(check=second.check ^ 1), (-1, 1)),
    ):
        assert lively.decode_inter(payload, references, QUALITY, 2).check != after.check
    alone, both = References(first).repeated(), References(first, second, (-1, 1)).repeated()
    assert len({first.check, alone.check, both.check}) == 3


@pytest.mark.parametrize("distances", [(-1, -9), (-1, 9), (-4, 4)], ids=str)
def test_pictures_of_chance_do_not_lead_beyond_the_sphere(lively, apart, distances):
    """Motion over half of the search's reach, nine times as far towards the second reference, then a flat picture."""
    noise = torch.rand(4, 1, 12 * 64**2, 3)
    states = [begin(lively, x) for x in noise[:2]]
    references = References(*states, distances)
    flat = torch.full_like(noise[0], 0.3)
    for x in (noise[2], flat, flat + 0.01 * noise[3]):
        payload, after = lively.encode_inter(x, references, QUALITY, 0)
        assert same(apart.decode_inter(payload, references, QUALITY, 0), after)
        references = References(after, states[0], distances)


def test_a_turn_that_would_go_on_too_far_is_left_out(lively, films):
    """A quarter of a turn to the first reference is more than a whole one to the second."""
    state = begin(lively, films["turned"][0])
    x = films["turned"][1]
    assert lively.inter.find_turn(x, References(state)) is not None
    assert lively.inter.find_turn(x, References(state, state, (-1, -9))) is not None
    assert lively.inter.find_turn(x, References(state, state, (-1, -70))) is None


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

    def moved() -> torch.Tensor:  # whether it pays here or not
        references = References(intra.state)
        tree, _ = network.inter.find_tree(x, references, None, 3000.0)
        return network.inter.predict(references, Motion.of([tree]))

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


class Convolutions(TorchDispatchMode):
    """Notes the types of numbers that convolutions run on."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in func.__name__:
            self.types.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


def test_no_convolution_runs_on_whole_numbers_or_in_float64(lively, pictures, coded):
    """Libraries may compute those by transforms, which round: what must be exact is a product of matrices."""
    state, (payload, _) = coded["new"]
    with Convolutions() as seen:
        lively.decode_intra(lively.encode_intra(pictures[0], QUALITY).payload, QUALITY)
        lively.decode_inter(payload, References(state), QUALITY, 0)
    assert seen.types == {torch.float32}


# Quality


def test_quality_reaches_the_bytes(lively, films):
    x_ref, x = films["both"]
    intra = [lively.encode_intra(x_ref, quality) for quality in (1.0, 8.0)]
    assert len(intra[1].payload) > 1.3 * len(intra[0].payload)
    state = begin(lively, x_ref)
    inter = [len(lively.encode_inter(x, References(state), quality, 0).payload) for quality in (4.0, 8.0)]
    assert inter[1] > 1.3 * inter[0] > 1.3


def test_frames_are_coded_at_their_own_qualities(lively, tiny, films, coded):
    """What a whole GOP refers to earns more bits, what is soon replaced fewer."""
    plain = SphereDVC(replace(tiny, intra_step=0.0, layer_steps=(0.0,) * 4), HealpixGrid.cached(64)).eval()
    fill(plain, dict(lively.named_parameters()), {})
    plain.build_tables()
    assert tiny.intra_step > 0 > tiny.layer_steps[0]
    x_ref, x = films["new"]
    for asked in (3.0, 7.9):
        expected = plain.encode_intra(x_ref, intra_quality(asked, tiny))
        assert lively.encode_intra(x_ref, asked).payload == expected.payload
    state, (payload, _) = coded["new"]
    for layer in range(4):
        expected = plain.encode_inter(x, References(state), inter_quality(QUALITY, tiny, layer), layer)
        assert lively.encode_inter(x, References(state), QUALITY, layer).payload == expected.payload
    assert payload != plain.encode_inter(x, References(state), QUALITY, 0).payload


def test_the_wrong_quality_decodes_to_another_picture(lively, pictures):
    """Within an eighth the symbols do not depend on it; their scale does."""
    coded = lively.encode_intra(pictures[0], 3.0)
    assert not torch.equal(lively.decode_intra(coded.payload, 3.01).x_hat, coded.state.x_hat)


# Training


def test_training_sees_what_the_codec_makes(lively, films):
    """forward() with rounded latents is the codec: the same picture, and the bits of the file."""
    network = copy.deepcopy(lively)
    for module in network.modules():
        if isinstance(module, SliceParameters):  # a scale of 18 for all: nothing is skipped, nothing far out
            module.level.weight.zero_()
            module.level.bias.fill_(52)
    x_ref, x = films["moved"]
    state, asked = begin(network, x_ref), torch.tensor([inter_quality(QUALITY, network.config, 0)])
    references, writer = References(state), SymbolWriter()
    intra = network.encode_intra(x_ref, QUALITY)
    with torch.no_grad():
        tree, _ = network.inter.find_tree(x, references, None, 3000.0)
        motion = Motion.of([tree])
        seen = network.inter.see(network.inter.predict(references, motion))
        context = network.inter.context(references, motion)
        y = network.inter.analyse_residual(x, seen)
        x_hat, residual = network.inter.write_residual(y, context, seen, asked, writer)
        picture, rate = network.intra(x_ref, torch.tensor([intra_quality(QUALITY, network.config)]), straight=True)
        out = network.inter(x, references, motion, asked, straight=True)
    assert torch.allclose(picture.x_hat, intra.state.x_hat, atol=1e-4)
    assert torch.allclose(out.x_hat, x_hat, atol=1e-4)
    assert torch.equal(out.fine, residual.fine)
    assert torch.equal(network.inter.begin(*picture).intra, intra.state.intra)
    payloads = Payload.unpack(intra.payload).latents, writer.finish()
    for payload, estimated in zip(payloads, (float(rate.bits), float(out.rate.bits)), strict=True):
        assert 8 * len(payload) == pytest.approx(estimated, rel=0.05, abs=100)


def test_training_reaches_every_weight(tiny, make_lively):
    """Over two pictures, the second of which has two references and a memory."""
    network = make_lively(tiny, PatchGrid(256, 3, 64, 0, 128)).train().requires_grad_(True)
    x, x_ref = torch.rand(2, 2, 128 * 128, 3)
    quality = torch.tensor([2.5, 6.0])
    picture, rate = network.intra(x_ref, quality)
    start = network.inter.begin(*picture)
    references, lmbda = References(start), np.array([3000.0, 300.0])
    motion = Motion.of(network.inter.find_motion(x, references, lmbda))
    first = network.inter(x, references, motion, quality)
    both = References(start, references.after(first.x_hat, first.fine), (-1, 1))
    motion = Motion.of(network.inter.find_motion(x_ref, both, lmbda))
    second = network.inter(x_ref, both, motion, quality)
    rates = [rate, first.rate, second.rate]
    errors = [(a - b).square().sum() for a, b in ((picture.x_hat, x_ref), (first.x_hat, x), (second.x_hat, x_ref))]
    (sum(part.bits for part in rates) + sum(errors)).backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    last = f"slices.{len(network.intra.latents.hyperprior.slices) - 1}.embed."  # nothing is decoded after it
    assert all(last in name for name in untouched), untouched


# What no encoder writes


@pytest.mark.parametrize("flags", [16, 23, 32, 128, 255])
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
    for flags in (2, 4, 6, 7, 8, 15):
        try:
            decoded = lively.decode_inter(bytes([flags]) + noise, References(state), QUALITY, 0)
            assert decoded.x_hat.isfinite().all()
        except DamagedStream:
            pass


Spoil = Callable[[SphereDVC], object]


def spoil_residual(network: SphereDVC) -> None:
    network.inter.g_s.finish[-1].bias.fill_(float("inf"))


def spoil_steps(network: SphereDVC) -> None:
    network.inter.g_s.finish[0].conv1.bias.fill_(float("nan"))


@pytest.mark.parametrize("spoil", [spoil_residual, spoil_steps])
def test_numbers_that_no_film_has_are_damaged(lively, coded, spoil):
    network = copy.deepcopy(lively)
    spoil(network)
    state, (payload, _) = coded["both"]
    with pytest.raises(DamagedStream, match="numbers beyond all bounds"):
        network.decode_inter(payload, References(state), QUALITY, 0)


def test_motion_beyond_the_sphere_is_damaged(lively, coded):
    """A tree that can be written, but whose vectors lead further than half a circle at this resolution."""
    state, (payload, _) = coded["both"]
    writer = SymbolWriter()
    tree = uniform_tree(lively.inter.blocks, Setting((-1, 0)), vectors=(1000, 0, 0, 0))
    lively.inter.write_motion(tree, Setting((-1, 0)), writer)
    far = Payload.unpack(payload)._replace(motion=writer.finish()).pack()
    with pytest.raises(DamagedStream, match="motion leads .* radians away; less than half a circle is possible"):
        lively.decode_inter(far, References(state), QUALITY, 0)


def test_parts_without_motion_are_damaged(lively, coded):
    state, (payload, _) = coded["both"]
    for parts in (Payload.unpack(payload)._replace(motion=None), Payload(torch.tensor([1, 2, 3]))):
        with pytest.raises(DamagedStream, match="has parts, but no motion"):
            lively.decode_inter(parts.pack(), References(state), QUALITY, 0)


def test_an_i_frame_has_latents_and_neither_turn_nor_motion(lively, coded, pictures):
    latents = Payload.unpack(lively.encode_intra(pictures[0], QUALITY).payload)
    for parts in (
        latents._replace(latents=None),
        latents._replace(motion=b"12345678"),
        latents._replace(turn=torch.tensor([1, 2, 3])),
        Payload.unpack(coded["both"][1].payload),
    ):
        with pytest.raises(DamagedStream, match="an I-frame has parts that it cannot have, or lacks"):
            lively.decode_intra(parts.pack(), QUALITY)


def test_an_i_frame_beyond_all_bounds_is_damaged(lively, pictures):
    network = copy.deepcopy(lively)
    payload, _ = network.encode_intra(pictures[0], QUALITY)
    network.intra.g_s.finish[-1].bias.fill_(float("nan"))
    with pytest.raises(DamagedStream, match="numbers beyond all bounds"):
        network.decode_intra(payload, QUALITY)
