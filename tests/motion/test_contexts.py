"""Contexts and tables: rows are distributions, and their bits are those of the real bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trees import BETWEEN, ONE, encoded, random_tree

from deepsphere_codec.entropy.coder import SymbolWriter
from deepsphere_codec.motion.contexts import COUNTS, DELTA, KINDS, ROWS, MotionTables
from deepsphere_codec.motion.counting import SymbolCounter
from deepsphere_codec.motion.syntax import write_tree


class Costs(SymbolCounter):
    """Adds up what symbols cost by the tables, beside counting them."""

    def __init__(self) -> None:
        super().__init__()
        self.bits, self.symbols = 0.0, 0

    def write(self, symbols: torch.Tensor, rows: torch.Tensor, tables: MotionTables) -> None:
        super().write(symbols, rows, tables)
        columns = symbols.numpy() + np.where(rows.numpy() >= KINDS["delta"].first, DELTA, 0)
        self.bits += float(tables.bits[rows.numpy(), columns].sum())
        self.symbols += len(symbols)


def built(counts: dict[str, np.ndarray]) -> MotionTables:
    found = MotionTables()
    found.build_tables(counts)
    return found


def test_every_row_is_a_distribution(tables):
    for made in (tables, built({})):
        cdf, length, offset = made.lists()
        assert len(cdf) == len(length) == len(offset) == ROWS
        for row, size in zip(cdf, length, strict=True):
            assert len(row) == size and row[0] == 0 and row[-1] == 1 << 16 and min(np.diff(row)) > 0
        np.testing.assert_allclose((2.0**-made.bits).sum(1), 1, atol=1e-6)


def test_the_kinds_share_one_table_between_them():
    rows = [row for kind in KINDS.values() for row in range(kind.first, kind.first + kind.count)]
    assert rows == list(range(ROWS))
    for name, kind in KINDS.items():
        every = kind.row(*np.indices(kind.shape).reshape(len(kind.shape), -1))
        assert every.tolist() == list(range(kind.first, kind.first + kind.count)), name
        with pytest.raises(ValueError):
            kind.row(*kind.shape)


def test_rows_have_the_symbols_that_their_kind_has(tables):
    _, length, offset = tables.lists()
    for kind in KINDS.values():
        rows = slice(kind.first, kind.first + kind.count)
        assert set(length[rows]) == {kind.symbols + 2} and set(offset[rows]) == {kind.offset}


def test_the_counts_of_the_package_cover_all_kinds():
    counts = dict(np.load(COUNTS))
    assert counts.keys() | {"coded"} == KINDS.keys(), "that one is given"
    for name, found in counts.items():
        assert found.shape == (*KINDS[name].shape, KINDS[name].symbols)
        assert (found >= 0).all()


@pytest.mark.parametrize("setting", [ONE, BETWEEN])
def test_bits_are_those_of_the_real_bytes(blocks, tables, setting):
    tree = random_tree(blocks, setting, 2, splits=0.7, reach=DELTA // 2)
    costs = Costs()
    write_tree(tree, blocks, setting, tables, costs)
    payload, _ = encoded(tree, blocks, setting, tables)
    assert 8 * len(payload) == pytest.approx(costs.bits, rel=0.002, abs=72), "and the coder's own eight bytes"


def test_tables_of_counted_symbols_make_them_cheaper(sphere, tables):
    trees = [random_tree(sphere, BETWEEN, seed, splits=0.6) for seed in range(6)]
    counter = SymbolCounter()
    for tree in trees[1:]:
        write_tree(tree, sphere, BETWEEN, tables, counter)
    own = built(counter.by_kind())
    sizes = [len(encoded(trees[0], sphere, BETWEEN, each)[0]) for each in (own, tables)]
    assert sizes[0] < 0.95 * sizes[1]


def test_a_row_that_was_never_counted_is_the_kinds_mean():
    counts = {"mode": np.array([[5000, 20, 0], [0, 0, 0], [5000, 0, 0]])}
    bits = built(counts).bits[KINDS["mode"].first :][:3, :3]
    assert bits[0, 0] < 0.1 < bits[0, 1] < bits[0, 2]
    assert abs(bits[1, 0] - bits[0, 0]) < 0.1


def test_a_counter_counts_every_symbol_that_a_writer_would_write(sphere, tables):
    costs = Costs()
    tree = random_tree(sphere, BETWEEN, 7, reach=10)
    write_tree(tree, sphere, BETWEEN, tables, costs)
    kinds = costs.by_kind()
    assert costs.counts.sum() == costs.symbols == sum(int(found.sum()) for found in kinds.values())
    flags = sum(
        int(np.prod(sphere.shape(0))) if not level else 4 * int(tree.split(level - 1).sum()) for level in range(4)
    )
    assert kinds["split"].sum() == flags
    assert {name: found.shape for name, found in kinds.items()} == {
        name: (*kind.shape, kind.symbols) for name, kind in KINDS.items()
    }
    assert kinds["mode"].sum() == kinds["blur"].sum() == kinds["merge"][..., 2].sum()
    assert not kinds["map"].any()


def test_what_lies_beyond_a_row_is_not_counted(tables):
    counter, row = SymbolCounter(), KINDS["delta"].first
    counter.write(torch.tensor([DELTA, -DELTA, DELTA + 1, -900]), torch.full((4,), row), tables)
    assert counter.counts.sum() == 2 and counter.counts[row, [0, 2 * DELTA]].tolist() == [1, 1]


def test_tables_built_anew_are_those_that_are_used():
    made = built({})
    before = made.lists()
    made.build_tables({"mode": np.array([[900, 0, 0]] * 3)})
    assert made.lists() is not before and made.lists()[0] != before[0]


def test_tables_that_were_never_built_say_so():
    with pytest.raises(AssertionError, match=r"call build_tables\(\) after training"):
        MotionTables().lists()


def test_nothing_written_is_no_bytes(tables):
    writer = SymbolWriter()
    writer.write(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), tables)  # type: ignore[arg-type]
    assert writer.finish() == b""
