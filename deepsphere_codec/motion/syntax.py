"""The bytes of a tree of motion: one walk over its levels, with a coder that writes, reads, counts or chooses.

Level by level from the coarsest, a block has the fields of its first leaf (towards the origin of its image). So the
first of four children has its parent's fields already, and the other three follow in three passes, each of which knows
the ones before it: the fields of all four neighbours of a block are known, exactly or from a coarser level. Candidates
are these, the block's own coarser fields, and the tree of an earlier picture; the two that most of them agree on can be
taken over for a bit or two ("merge"), else mode, blur and the vectors' differences from the first are coded. Then come
the blocks' split flags, in two passes as on a chessboard. Each pass is one call of the coder.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Int16, Int64

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.motion.contexts import DELTA, KINDS, MotionTables
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    B0,
    B1,
    BLUR,
    BLURS,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    VECTOR_LIMIT,
    WIDTHS,
    BlockGrid,
    Leaves,
    MotionTree,
    children,
)

Fields = Int16[np.ndarray, "n 6"]
Where = tuple[np.ndarray, ...]
"""Image, row and column of some blocks."""

_USED = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]], np.int16)
"""By mode: the fields that count."""
_MOST_SYMBOLS = 8
"""Per block of 4 nodes: each is coded anew once (merge, mode, blur, four components), and a third have a split flag."""


class Setting(NamedTuple):
    """Knowledge of encoder and decoder before a tree.

    Attributes:
        distances: Display number of each reference less that of the picture; the second is 0 where there is none.
        earlier: Tree of an earlier picture, its vectors scaled to these distances; None for none.
    """

    distances: tuple[int, int]
    earlier: MotionTree | None = None

    @property
    def has_second(self) -> bool:
        return self.distances[1] != 0

    @property
    def is_between(self) -> bool:
        """Whether the references lie on both sides."""
        return self.distances[0] * self.distances[1] < 0


class LeafContext(NamedTuple):
    """Knowledge of some blocks before their fields.

    Attributes:
        first, second: The two candidates that most neighbours agree on.
        base: What a new vector is told from: mode and blur of the first, the medians of the neighbours' components.
        merge: Row of the merge symbol.
        spread: How far the candidates lie apart, 0 to 4.
        fine: 1 on the two finest levels.
        between: 1 where the references lie on both sides.
    """

    first: Fields
    second: Fields
    base: Fields
    merge: Int64[np.ndarray, " n"]
    spread: Int64[np.ndarray, " n"]
    fine: int
    between: int


class TreeCoder(Protocol):
    """Coder that a walk asks for fields and split flags of some blocks of a level, given by their indices."""

    def fields(self, level: int, where: Where, context: LeafContext, setting: Setting) -> Fields: ...

    def split(self, level: int, where: Where, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]: ...


def walk(grid: BlockGrid, setting: Setting, coder: TreeCoder) -> MotionTree:
    """Have a tree coded, from the coarsest level to the finest.

    Returns:
        The tree as the decoder has it.
    """
    earlier = setting.earlier
    known = _start(grid, earlier)
    active = np.ones(grid.shape(0), bool)
    split_above = np.ones(grid.shape(0), bool)
    level_of = np.zeros(grid.shape(LAST), np.int8)
    for level in range(LAST + 1):
        if level:
            known, active = children(known), children(split_above)
        hint = known if earlier is None else _sampled(earlier.leaves, level)
        for first_y, first_x in ((0, 0), (0, 1), (1, 0), (1, 1))[1 if level else 0 :]:
            where = _every_second(active, first_y, first_x)
            if len(where[0]):
                context = _leaf_context(grid, known, hint, level, where, setting)
                known[where] = coder.fields(level, where, context, setting)
        if level == LAST:
            break
        split_above = _code_splits(grid, setting, coder, level, known, active)
        size = WIDTHS[level] // WIDTHS[LAST]
        level_of[split_above.repeat(size, 1).repeat(size, 2)] = level + 1
    return MotionTree(known, level_of)


def _start(grid: BlockGrid, earlier: MotionTree | None) -> Leaves:
    if earlier is None:
        return np.zeros((*grid.shape(0), 6), np.int16)
    return _sampled(earlier.leaves, 0).copy()


def _sampled(blocks: np.ndarray, level: int) -> np.ndarray:
    """Values of the block next to the middle of each block of a level."""
    size = WIDTHS[level] // WIDTHS[LAST]
    return blocks[:, size // 2 :: size, size // 2 :: size]


def _every_second(active: np.ndarray, first_y: int, first_x: int) -> Where:
    image, y, x = np.nonzero(active[:, first_y::2, first_x::2])
    return image, 2 * y + first_y, 2 * x + first_x


def _leaf_context(
    grid: BlockGrid, known: Leaves, hint: Leaves, level: int, where: Where, setting: Setting
) -> LeafContext:
    around = grid.around(known, level)[where]
    candidates = np.concatenate([known[where][:, None], around, hint[where][:, None]], 1)  # [n, 6 candidates, 6 fields]
    used = candidates * _USED[candidates[..., MODE]]
    same = (used[:, :, None] == used[:, None]).all(-1)  # [n, 6, 6]
    votes = same.sum(2)
    rows = np.arange(len(candidates))
    first = votes.argmax(1)
    others = np.where(same[rows, first], 0, votes)
    second = others.argmax(1)
    there = others[rows, second] > 0
    a, b = candidates[rows, first], candidates[rows, second]
    base = np.sort(candidates[:, :5], axis=1)[:, 2]
    base[:, [MODE, BLUR]] = a[:, [MODE, BLUR]]
    far = np.abs(candidates[:, :5, A0:].astype(np.int32) - base[:, None, A0:]).max((1, 2))
    spread = np.digitize(far, (1, 3, 8, 24))
    merge = KINDS["merge"].row(int(setting.has_second), level, votes[rows, first] - 1, there)
    return LeafContext(a, b, base, merge, spread, int(level >= LAST - 1), int(setting.is_between))


def _code_splits(
    grid: BlockGrid, setting: Setting, coder: TreeCoder, level: int, known: Leaves, active: np.ndarray
) -> Bool[np.ndarray, "images rows columns"]:
    flags = np.zeros(active.shape, bool)
    used = known * _USED[known[..., MODE]]
    around = grid.around(known, level)
    around = around * _USED[around[..., MODE]]
    differing = (around != used[..., None, :]).any(-1).sum(-1)
    if setting.earlier is None:
        deeper = np.full(active.shape, 2)
    else:
        deeper = (_deepest(setting.earlier.level, level) > level).astype(np.int64)
    _, y, x = np.indices(active.shape)
    half = (y + x) % 2
    for turn in (0, 1):
        where = np.nonzero(active & (half == turn))
        if len(where[0]):
            beside = grid.flags_around(flags if turn else active, level).sum(-1)
            rows = KINDS["split"].row(turn, level, differing[where], deeper[where], beside[where])
            flags[where] = coder.split(level, where, rows)
    return flags


def _deepest(levels: np.ndarray, level: int) -> np.ndarray:
    size = WIDTHS[level] // WIDTHS[LAST]
    images, rows, columns = levels.shape
    return levels.reshape(images, rows // size, size, columns // size, size).max((2, 4))


def delta_rows(context: LeafContext, other: np.ndarray | None) -> Int64[np.ndarray, " n"]:
    """Rows of a vector's first component, or of its second, given the first one's difference."""
    size = 0 if other is None else 1 + np.digitize(np.abs(other), (1, 3))
    return KINDS["delta"].row(context.between, context.fine, context.spread, size)


def completed(fields: Fields, setting: Setting) -> Fields:
    """Fields whose unused vector follows from the one that is used, by the distances of the references."""
    if not setting.has_second:
        fields[:, A1:] = 0
        return fields
    d0, d1 = setting.distances
    only_first, only_second = fields[:, MODE] == FIRST, fields[:, MODE] == SECOND
    fields[only_first, A1:] = scaled(fields[only_first, A0 : B0 + 1], d1, d0)
    fields[only_second, A0 : B0 + 1] = scaled(fields[only_second, A1:], d0, d1)
    return fields


def scaled(vectors: Int16[np.ndarray, "*n 2"], numerator: int, denominator: int) -> Int16[np.ndarray, "*n 2"]:
    """Vectors times a fraction, to the nearest whole number (halves upwards), within the limit."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    whole = (2 * vectors.astype(np.int64) * numerator + denominator) // (2 * denominator)
    return np.clip(whole, -VECTOR_LIMIT, VECTOR_LIMIT).astype(np.int16)


def earlier_tree(tree: MotionTree, distances: tuple[int, int], own: tuple[int, int]) -> MotionTree:
    """The tree of an earlier picture as a hint for another one.

    Args:
        tree: Of a picture with references at `distances`.
        own: Distances of the references of the picture that is to be coded.
    """
    fields = tree.leaves.copy()
    motion = np.where(
        (fields[..., MODE] == SECOND)[..., None],
        scaled(fields[..., A1:], distances[0], distances[1] or distances[0]),
        fields[..., A0 : B0 + 1],
    )
    fields[..., A0 : B0 + 1] = scaled(motion, own[0], distances[0])
    fields[..., A1:] = scaled(motion, own[1], distances[0]) if own[1] else 0
    fields[..., BLUR] = 0
    if own[1] == 0:
        fields[..., MODE] = FIRST
    elif own[0] * own[1] < 0:
        fields[..., MODE] = MEAN
    return MotionTree(fields, tree.level)


class _Writing:
    """Writes a given tree."""

    def __init__(self, tree: MotionTree, writer: SymbolWriter, tables: MotionTables) -> None:
        self.tree, self.writer, self.tables = tree, writer, tables

    def fields(self, level: int, where: Where, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        image, y, x = where
        choice = choices(self.tree.leaves[image, y * size, x * size], context, setting)
        self._put(choice.symbols, choice.rows)
        return choice.fields

    def split(self, level: int, where: Where, rows: np.ndarray) -> np.ndarray:
        flags = self.tree.split(level)[where]
        self._put(flags.astype(np.int64), rows)
        return flags

    def _put(self, symbols: np.ndarray, rows: np.ndarray) -> None:
        self.writer.write(torch.from_numpy(symbols), torch.from_numpy(rows), self.tables)  # type: ignore[arg-type]


class Choice(NamedTuple):
    """The symbols of some blocks, in the order in which they are read."""

    fields: Fields
    symbols: Int64[np.ndarray, " symbols"]
    rows: Int64[np.ndarray, " symbols"]
    blocks: Int64[np.ndarray, " symbols"]  # which of the blocks each belongs to


def choices(wanted: Fields, context: LeafContext, setting: Setting) -> Choice:
    """How blocks with these fields are coded; the fields come back as the decoder has them."""
    mask = _USED[wanted[:, MODE]]
    is_first, is_second = (
        ((each[:, MODE] == wanted[:, MODE]) & ((each - wanted) * mask == 0).all(1))
        for each in (context.first, context.second)
    )
    merge = np.where(is_first, 0, np.where(is_second, 1, 2))
    fields = np.where(is_first[:, None], context.first, np.where(is_second[:, None], context.second, wanted))
    new = np.nonzero(merge == 2)[0]
    parts = [(merge, context.merge, np.arange(len(merge)))]
    parts += [(*part, new[some]) for *part, some in _new_symbols(wanted[new], _subset(context, new), setting)]
    fields[new] = completed(fields[new], setting)
    symbols, rows, blocks = (np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True))
    return Choice(fields, symbols, rows, blocks)


def _new_symbols(
    wanted: Fields, context: LeafContext, setting: Setting
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Symbols, their rows, and which blocks they are of, part by part as they are read."""
    base, every, parts = context.base, np.arange(len(wanted)), []
    if setting.has_second:
        parts.append((wanted[:, MODE], KINDS["mode"].row(base[:, MODE]), every))
    parts.append((wanted[:, BLUR], KINDS["blur"].row(base[:, BLUR]), every))
    for a, b, mode in ((A0, B0, FIRST), (A1, B1, SECOND)):
        some = np.nonzero((wanted[:, MODE] == mode) | (wanted[:, MODE] == MEAN))[0]
        chosen, delta = _subset(context, some), (wanted[some].astype(np.int64) - base[some])
        parts.append((delta[:, a], delta_rows(chosen, None), some))
        parts.append((delta[:, b], delta_rows(chosen, delta[:, a]), some))
    return parts


def _subset(context: LeafContext, some: np.ndarray) -> LeafContext:
    first, second, base, merge, spread, fine, between = context
    return LeafContext(first[some], second[some], base[some], merge[some], spread[some], fine, between)


class _Reading:
    """Reads a tree."""

    def __init__(self, reader: SymbolReader, tables: MotionTables) -> None:
        self.reader, self.tables = reader, tables

    def fields(self, level: int, where: Where, context: LeafContext, setting: Setting) -> Fields:
        merge = self._get(context.merge, 3)
        fields = np.where((merge == 1)[:, None], context.second, context.first)
        new = np.nonzero(merge == 2)[0]
        fields[new] = self._new(_subset(context, new), setting)
        return fields

    def _new(self, context: LeafContext, setting: Setting) -> Fields:
        base = context.base
        fields = base.copy()
        fields[:, MODE] = self._get(KINDS["mode"].row(base[:, MODE]), 3) if setting.has_second else FIRST
        fields[:, BLUR] = self._get(KINDS["blur"].row(base[:, BLUR]), BLURS)
        for a, b, mode in ((A0, B0, FIRST), (A1, B1, SECOND)):
            some = np.nonzero((fields[:, MODE] == mode) | (fields[:, MODE] == MEAN))[0]
            chosen = _subset(context, some)
            delta_a = self._get(delta_rows(chosen, None))
            delta_b = self._get(delta_rows(chosen, delta_a))
            vectors = base[some].astype(np.int64)[:, [a, b]] + np.stack([delta_a, delta_b], 1)
            if len(vectors) and np.abs(vectors).max() > VECTOR_LIMIT:
                raise DamagedStream("a vector of the motion is longer than any that is written")
            fields[some, a], fields[some, b] = vectors.T
        return completed(fields, setting)

    def split(self, level: int, where: Where, rows: np.ndarray) -> np.ndarray:
        return self._get(rows, 2) == 1

    def _get(self, rows: np.ndarray, symbols: int = 0) -> np.ndarray:
        found = self.reader.read(torch.from_numpy(rows), self.tables).numpy()  # type: ignore[arg-type]
        if symbols and len(found) and not (0 <= found.min() and found.max() < symbols):
            raise DamagedStream("the motion holds a symbol that is never written")
        return found


def write_tree(
    tree: MotionTree, grid: BlockGrid, setting: Setting, tables: MotionTables, writer: SymbolWriter
) -> MotionTree:
    """Code a tree; returns it as the decoder will have it (vectors that do not count may differ)."""
    return walk(grid, setting, _Writing(tree, writer, tables))


def read_tree(grid: BlockGrid, setting: Setting, tables: MotionTables, reader: SymbolReader) -> MotionTree:
    """Decode a tree.

    Raises:
        DamagedStream: the bytes are none that `write_tree` writes.
    """
    reader.expect(_MOST_SYMBOLS * int(np.prod(grid.shape(LAST))))
    return walk(grid, setting, _Reading(reader, tables))


assert DELTA < VECTOR_LIMIT
