"""Maps of quality: their bytes, their reach, and what they are for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import centers, texture, turn

from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models import CodedPicture, References, SphereDVC, State, load_model
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.quality_map import MAP_LIMIT, MAP_STEP, mapped, read_map, write_map
from deepsphere_codec.motion.contexts import KINDS, MotionTables

QUALITY, BLOCKS = 6.0, 12


@pytest.fixture(scope="module")
def tables() -> MotionTables:
    found = MotionTables()
    found.build_tables()
    return found


def one_block(value: int, block: int = 5) -> np.ndarray:
    quality_map = np.zeros(BLOCKS, np.int8)
    quality_map[block] = value
    return quality_map


# Bytes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.integers(-MAP_LIMIT, MAP_LIMIT), min_size=1, max_size=200))
def test_any_map_comes_back(values):
    made = MotionTables()
    made.build_tables({})
    quality_map = np.array(values, np.int8)
    found = read_map(write_map(quality_map, made), len(values), made)
    assert found.dtype == np.int8 and np.array_equal(found, quality_map)


def test_large_maps_that_are_smooth_cost_little(tables):
    """A map of nside 512: 768 blocks, a step between halves of a face each."""
    quality_map = np.repeat(np.tile([0, 4], 12), 32).astype(np.int8)
    assert len(write_map(quality_map, tables)) < 230
    assert np.array_equal(read_map(write_map(quality_map, tables), 768, tables), quality_map)


@pytest.mark.parametrize("value", [MAP_LIMIT + 1, -MAP_LIMIT - 1, 2000, -(2**24)])
@pytest.mark.parametrize("place", [0, 7])
def test_a_map_beyond_what_is_written_is_refused(tables, value, place):
    writer = SymbolWriter()
    symbols = torch.zeros(BLOCKS, dtype=torch.int64)
    symbols[place] = value
    writer.write(symbols, torch.full((BLOCKS,), KINDS["map"].first), tables)  # type: ignore[arg-type]
    with pytest.raises(DamagedStream, match="quality map goes beyond what is written"):
        read_map(writer.finish(), BLOCKS, tables)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_of_chance_are_a_map_or_refused(tables, seed):
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 256, int(rng.integers(0, 60)), np.uint8).tobytes()
    try:
        assert np.abs(read_map(payload, BLOCKS, tables)).max() <= MAP_LIMIT
    except DamagedStream:
        pass


@pytest.mark.parametrize("quality", [1e300, -1e300, 1e39])
def test_a_quality_beyond_all_bounds_is_the_last_one(lively, quality):
    """A damaged header may hold any finite number."""
    like = torch.zeros(1, 12, 3)
    asked, flat = mapped(quality, None, like), np.zeros(12, np.int8)
    assert asked.isfinite().all() and (mapped(quality, flat, like) == asked).all()
    bank = lively.intra.latents.gain
    assert torch.equal(bank(asked), bank(torch.full((1, 1), 8.0 if quality > 0 else 1.0)))


def test_mapped_adds_quarter_steps():
    like = torch.zeros(1)
    assert mapped(3.0, None, like).tolist() == [[3.0]]
    assert mapped(3.0, np.array([0, 4, -2, 28], np.int8), like).tolist() == [[3.0, 4.0, 2.5, 10.0]]
    assert MAP_STEP == 0.25


# Pictures


@pytest.fixture(scope="module")
def apart(lively: SphereDVC) -> SphereDVC:
    """Another network with the same weights and tables, as another process has it."""
    return copy.deepcopy(lively)


@pytest.fixture(scope="module")
def first(lively, films) -> CodedPicture:
    """An I-frame without a map."""
    return lively.encode_intra(films["both"][0], QUALITY)


def equal(a: State, b: State) -> bool:
    same_map = (a.quality_map is None) == (b.quality_map is None)
    if a.quality_map is not None:
        same_map = same_map and np.array_equal(a.quality_map, b.quality_map)
    return same_map and a.check == b.check and torch.equal(a.x_hat, b.x_hat)


MAPS = {"one better": one_block(8), "one worse": one_block(-12), "all": np.arange(-6, 6, dtype=np.int8)}


@pytest.mark.parametrize("name", ["one worse", "all"])
def test_pictures_with_maps_decode_to_what_the_encoder_has(lively, apart, films, name):
    """I, P with one reference and with two, B; each with a map of its own, or that of its reference."""
    x_ref, x = films["both"]
    intra = lively.encode_intra(x_ref, QUALITY, MAPS[name])
    assert equal(apart.decode_intra(intra.payload, QUALITY), intra.state)
    references = [
        References(intra.state),
        References(intra.state, lively.encode_intra(x, QUALITY).state, (-1, -4)),
        References(intra.state, lively.encode_intra(x, QUALITY).state, (-1, 1)),
    ]
    middle = (x_ref + x) / 2 + 0.03 * torch.randn_like(x)
    for each, layer in zip(references, (0, 0, 2), strict=True):
        for quality_map in (MAPS[name], one_block(16, 2)):
            coded = lively.encode_inter(middle, each, QUALITY, layer, quality_map)
            assert len(coded.payload) > 1
            assert equal(apart.decode_inter(coded.payload, each, QUALITY, layer), coded.state)
            has_map = Payload.unpack(coded.payload).quality_map is not None
            assert has_map == (quality_map is not MAPS[name]), "what the reference has need not be written"


def test_a_flat_map_costs_nothing(lively, apart, films, first):
    x_ref, x = films["both"]
    flat = np.zeros(BLOCKS, np.int8)
    intra = lively.encode_intra(x_ref, QUALITY, flat)
    assert intra.payload == first.payload and equal(apart.decode_intra(intra.payload, QUALITY), intra.state)
    inter = lively.encode_inter(x, References(first.state), QUALITY, 0, flat)
    assert inter.payload == lively.encode_inter(x, References(first.state), QUALITY, 0).payload
    assert equal(apart.decode_inter(inter.payload, References(first.state), QUALITY, 0), inter.state)


def test_a_map_ends_where_the_next_picture_is_flat(lively, apart, films):
    x_ref, x = films["both"]
    intra = lively.encode_intra(x_ref, QUALITY, MAPS["all"])
    inter = lively.encode_inter(x, References(intra.state), QUALITY, 0, None)
    assert Payload.unpack(inter.payload).quality_map is not None and inter.state.quality_map is None
    assert apart.decode_inter(inter.payload, References(intra.state), QUALITY, 0).quality_map is None


def test_a_picture_that_repeats_keeps_the_map_of_its_reference(lively, apart, films):
    intra = lively.encode_intra(films["still"][0], QUALITY, MAPS["all"])
    coded = lively.encode_inter(intra.state.x_hat, References(intra.state), QUALITY, 0, MAPS["all"])
    assert coded.payload == b"\0" and np.array_equal(coded.state.quality_map, MAPS["all"])
    assert equal(apart.decode_inter(b"\0", References(intra.state), QUALITY, 0), coded.state)


@pytest.mark.parametrize("frame", ["I", "P"])
def test_a_map_raises_quality_where_it_says_so_and_nowhere_else(frame):
    """With the released weights: errors inside the block fall, those far from it stay, the bytes grow."""
    p, network = centers(64), load_model().network(64)
    x_ref, x = (texture(q, 10.0).expand(1, -1, 3).contiguous() for q in (p, p @ turn((1.0, 2.0, 0.0), 1.0)))
    first = network.encode_intra(x_ref, 2.0).state
    face = 5
    z = p @ p[face * 64**2 + 32 * 65]
    inside = (torch.arange(12 * 64**2) // 64**2 == face) & (z > 0.9)
    far = z < 0

    def coded(quality_map: np.ndarray | None) -> CodedPicture:
        if frame == "I":
            return network.encode_intra(x_ref, 3.0, quality_map)
        return network.encode_inter(x, References(first), 3.0, 0, quality_map)

    def errors(picture: CodedPicture) -> tuple[float, float]:
        error = (picture.state.x_hat - (x_ref if frame == "I" else x)).square().sum(-1)[0]
        return float(error[inside].mean()), float(error[far].mean())

    plain, better = coded(None), coded(one_block(16, face))
    assert errors(better)[0] < 0.8 * errors(plain)[0]
    assert errors(better)[1] == pytest.approx(errors(plain)[1], rel=0.2)
    assert len(better.payload) > len(plain.payload)


# Damage


def test_a_damaged_map_is_refused_or_another_picture(lively, films, first):
    x = films["both"][1]
    coded = lively.encode_inter(x, References(first.state), QUALITY, 0, MAPS["all"])
    parts = Payload.unpack(coded.payload)
    assert parts.quality_map is not None
    for damaged in (b"", b"\0" * 20, b"\xff" * 20, parts.quality_map[:-4] + b"\0\0\0\0", b"\x40" * 9):
        payload = parts._replace(quality_map=damaged).pack()
        try:
            state = lively.decode_inter(payload, References(first.state), QUALITY, 0)
        except DamagedStream:
            continue
        assert state.check != coded.state.check


def test_a_map_without_a_picture_is_refused(lively, first, tables):
    alone = Payload(None, write_map(MAPS["all"], tables)).pack()
    with pytest.raises(DamagedStream, match="has parts, but no motion"):
        lively.decode_inter(alone, References(first.state), QUALITY, 0)
    with pytest.raises(DamagedStream, match="an I-frame has parts that it cannot have, or lacks"):
        lively.decode_intra(alone, QUALITY)
