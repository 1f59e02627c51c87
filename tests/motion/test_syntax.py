"""The bytes of a tree: any tree comes back, on every grid and machine; bytes that are damaged never do worse."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import (
    BETWEEN,
    ONE,
    TWO,
    decoded,
    encoded,
    is_valid,
    random_tree,
    same_tree,
    uniform_tree,
    used_fields,
)

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.motion.contexts import KINDS, MotionTables
from deepsphere_codec.motion.syntax import Setting, completed, earlier_tree, read_tree, scaled, write_tree
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    B0,
    BLUR,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    VECTOR_LIMIT,
    BlockGrid,
    MotionTree,
    still_tree,
)
from deepsphere_codec.sphere import HealpixGrid

SETTINGS = {"one": ONE, "two": TWO, "between": BETWEEN, "far": Setting((-1, -9)), "later": Setting((-3, 5))}
QUICKLY = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def with_earlier(blocks: BlockGrid, setting: Setting, seed: int) -> Setting:
    """The same, with the tree of an earlier picture, which had references of its own."""
    own = list(SETTINGS.values())[seed % len(SETTINGS)]
    tree = random_tree(blocks, own, seed + 1, splits=0.4)
    return setting._replace(earlier=earlier_tree(tree, own.distances, setting.distances))


# Trees are read as they were written


@pytest.mark.parametrize("name", SETTINGS)
@QUICKLY
@given(
    seed=st.integers(0, 10**6),
    splits=st.sampled_from([0.0, 0.2, 0.6, 0.95]),
    reach=st.sampled_from([0, 3, 40, VECTOR_LIMIT]),
    alike=st.sampled_from([0.0, 0.6, 0.95]),
    remembers=st.booleans(),
)
def test_any_tree_comes_back(sphere, tables, name, seed, splits, reach, alike, remembers):
    setting = with_earlier(sphere, SETTINGS[name], seed) if remembers else SETTINGS[name]
    tree = random_tree(sphere, setting, seed, splits=splits, reach=reach, alike=alike)
    payload, after = encoded(tree, sphere, setting, tables)
    assert same_tree(decoded(payload, sphere, setting, tables), after)
    assert np.array_equal(after.level, tree.level) and np.array_equal(used_fields(after), used_fields(tree))
    assert is_valid(after, sphere, setting)


@pytest.mark.parametrize("name", ["one", "between"])
@pytest.mark.parametrize("remembers", [False, True])
def test_a_tree_comes_back_on_every_grid(blocks, tables, name, remembers):
    setting = with_earlier(blocks, SETTINGS[name], 8) if remembers else SETTINGS[name]
    for seed, splits in ((1, 0.3), (2, 0.8)):
        tree = random_tree(blocks, setting, seed, splits=splits, reach=30)
        payload, after = encoded(tree, blocks, setting, tables)
        assert same_tree(decoded(payload, blocks, setting, tables), after)
        assert np.array_equal(after.level, tree.level) and np.array_equal(used_fields(after), used_fields(tree))


def test_the_largest_tree_comes_back(tables):
    """All blocks split to the last level, all leaves new, with both vectors: six symbols and a merge each."""
    blocks = BlockGrid(HealpixGrid.cached(128))
    tree = random_tree(blocks, BETWEEN, 4, splits=1.0, reach=VECTOR_LIMIT, alike=0.0)
    tree.leaves[..., MODE] = MEAN
    payload, after = encoded(tree, blocks, BETWEEN, tables)
    assert same_tree(decoded(payload, blocks, BETWEEN, tables), after) and same_tree(after, tree)


def test_what_is_written_again_stays_the_same(sphere, tables):
    """The encoder's tree is the decoder's: it leads to the same bytes once more."""
    tree = random_tree(sphere, BETWEEN, 6)
    payload, after = encoded(tree, sphere, BETWEEN, tables)
    again, last = encoded(after, sphere, BETWEEN, tables)
    assert again == payload and same_tree(last, after)


def test_the_same_bytes_on_any_number_of_threads(sphere, tables, on_threads):
    setting = with_earlier(sphere, TWO, 2)
    tree = random_tree(sphere, setting, 9)
    payload, after = encoded(tree, sphere, setting, tables)
    for threads in (2, 4):
        assert on_threads(threads, lambda: encoded(tree, sphere, setting, tables))[0] == payload
        assert same_tree(on_threads(threads, lambda: decoded(payload, sphere, setting, tables)), after)


def test_where_nothing_moves_a_tree_is_a_few_bytes(sphere, tables):
    payload, after = encoded(still_tree(sphere), sphere, ONE, tables)
    assert len(payload) <= 12 and same_tree(after, still_tree(sphere))


def test_one_vector_for_all_costs_little_wherever_faces_meet(plane, tables):
    tree = uniform_tree(plane, ONE, vectors=(7, 0, 0, 0))
    assert len(encoded(tree, plane, ONE, tables)[0]) <= 12


def test_the_tree_of_an_earlier_picture_makes_the_same_tree_cheap(sphere, tables):
    """Leaves of that tree agree with their neighbours as well, so much of the gain is there without it."""
    tree = random_tree(sphere, ONE, 5, splits=0.6, reach=30, alike=1.0, blurs=1)
    alone, _ = encoded(tree, sphere, ONE, tables)
    known, _ = encoded(tree, sphere, Setting((-1, 0), tree), tables)
    assert len(known) < 0.8 * len(alone)


# Vectors that are not written


def test_vectors_that_do_not_count_follow_from_those_that_do():
    fields = np.zeros((3, 6), np.int16)
    fields[:, MODE] = FIRST, SECOND, MEAN
    fields[:, A0:] = 10, -5, 99, 99
    assert completed(fields.copy(), Setting((-2, 4))).tolist() == [
        [FIRST, 0, 10, -5, -20, 10],
        [SECOND, 0, -49, -49, 99, 99],
        [MEAN, 0, 10, -5, 99, 99],
    ]
    assert not completed(fields.copy(), ONE)[:, A1:].any()


@given(
    value=st.integers(-VECTOR_LIMIT, VECTOR_LIMIT),
    numerator=st.integers(-20, 20),
    denominator=st.integers(-20, 20).filter(bool),
)
def test_scaling_rounds_halves_upwards_within_the_limit(value, numerator, denominator):
    found = scaled(np.array([[value, 0]], np.int16), numerator, denominator)
    exact = floor(Fraction(value * numerator, denominator) + Fraction(1, 2))
    assert found.dtype == np.int16
    assert found.tolist() == [[max(-VECTOR_LIMIT, min(VECTOR_LIMIT, exact)), 0]]


def test_an_earlier_tree_is_scaled_by_time(sphere):
    tree = uniform_tree(sphere, ONE, vectors=(8, -4, 0, 0), blur=2)
    hint = earlier_tree(tree, (-1, 0), (-2, 2))
    assert hint.leaves[0, 0, 0].tolist() == [MEAN, 0, 16, -8, -16, 8]
    back = earlier_tree(uniform_tree(sphere, TWO, mode=SECOND, vectors=(0, 0, 12, 4)), (-1, -4), (-1, 0))
    assert back.leaves[0, 0, 0].tolist() == [FIRST, 0, 3, 1, 0, 0]
    assert tree.leaves[0, 0, 0].tolist() == [FIRST, 2, 8, -4, 0, 0], "the other picture's tree stays as it is"


# Damage


def read_or_refuse(payload: bytes, blocks: BlockGrid, setting: Setting, tables: MotionTables) -> MotionTree | None:
    """The tree of damaged bytes, if they make one."""
    try:
        tree = decoded(payload, blocks, setting, tables)
    except DamagedStream:
        return None
    assert is_valid(tree, blocks, setting)
    return tree


@pytest.mark.parametrize("name", ["one", "between"])
@settings(QUICKLY, max_examples=40)
@given(data=st.data())
def test_damaged_bytes_make_another_tree_or_are_refused(sphere, tables, name, data):
    setting = SETTINGS[name]
    tree = random_tree(sphere, setting, 4, splits=0.6, reach=30)
    payload = bytearray(encoded(tree, sphere, setting, tables)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, min(200, len(payload) - 1)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(payload), len(payload), 0, 4, 8, 9, 40, len(payload) // 2]))
    read_or_refuse(bytes(payload[:cut]), sphere, setting, tables)


@pytest.mark.parametrize("seed", range(6))
def test_noise_makes_a_tree_or_is_refused(blocks, tables, seed):
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 256, int(rng.integers(0, 3000)), np.uint8).tobytes()
    for setting in (ONE, BETWEEN):
        read_or_refuse(payload, blocks, setting, tables)


@pytest.mark.parametrize("setting", [ONE, BETWEEN])
def test_nothing_and_zeros_and_ones_are_refused(sphere, tables, setting):
    for payload in (b"", b"\0" * 8, b"\xff" * 40):
        with pytest.raises(DamagedStream):
            decoded(payload, sphere, setting, tables)


@pytest.mark.parametrize("value", [VECTOR_LIMIT + 1, -VECTOR_LIMIT - 1, 32767])
@pytest.mark.parametrize("column", [A0, B0])
def test_a_vector_that_is_too_long_is_refused(sphere, tables, value, column):
    tree = still_tree(sphere)
    tree.leaves[0, :16, :16, column] = value
    payload, _ = encoded(tree, sphere, ONE, tables)
    with pytest.raises(DamagedStream, match="a vector of the motion is longer"):
        decoded(payload, sphere, ONE, tables)


class Spoiling(SymbolWriter):
    """Writes one symbol of a kind otherwise than it is."""

    def __init__(self, kind: str, symbol: int) -> None:
        super().__init__()
        self.kind, self.symbol, self.spoiled = KINDS[kind], symbol, False

    def write(self, symbols: torch.Tensor, rows: torch.Tensor, tables: MotionTables) -> None:  # type: ignore[override]
        mine = ((rows >= self.kind.first) & (rows < self.kind.first + self.kind.count)).nonzero().flatten()
        if len(mine) and not self.spoiled:
            symbols, self.spoiled = symbols.clone(), True
            symbols[mine[-1]] = self.symbol
        super().write(symbols, rows, tables)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind, symbol",
    [("split", 2), ("split", -1), ("merge", 3), ("merge", 70), ("merge", -2), ("mode", 3), ("mode", -1), ("blur", 3)],
)
def test_a_symbol_that_means_nothing_is_refused(sphere, tables, kind, symbol):
    tree = random_tree(sphere, BETWEEN, 3, splits=0.3)
    writer = Spoiling(kind, symbol)
    write_tree(tree, sphere, BETWEEN, tables, writer)
    assert writer.spoiled
    with pytest.raises(DamagedStream, match="a symbol that is never written"):
        read_tree(sphere, BETWEEN, tables, SymbolReader(writer.finish()))


def test_a_tree_cannot_be_split_below_its_last_level(sphere, tables):
    """No flags are read there; the finest blocks are leaves whatever the bytes say."""
    tree = random_tree(sphere, ONE, 3, splits=1.0)
    payload, after = encoded(tree, sphere, ONE, tables)
    assert (after.level == LAST).all() and (decoded(payload, sphere, ONE, tables).level == LAST).all()
    assert not after.leaves[..., [A1, A1 + 1]].any() and after.leaves[..., BLUR].any()
