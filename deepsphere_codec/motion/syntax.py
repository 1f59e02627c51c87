"""Syntax of a motion tree: one walk over its levels, with a coder that writes, reads, counts or chooses.

The walk goes level by level from the coarsest. A block has the fields of its first leaf (towards the origin of its
image), so the first of four children inherits its parent's fields, and the other three follow in three passes, each of
which uses the results of the passes before it. The fields of all four neighbours of a block are therefore known,
exactly or from a coarser level. Candidates are the neighbours' fields, the block's own coarser fields, and those of an
earlier picture's tree. The two candidates with the most votes can be copied for a bit or two ("merge"); otherwise mode,
blur and the differences of the vectors from their prediction are coded. Then follow the blocks' split flags, in the two
passes of a chessboard pattern. Each pass is one call of the coder.
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
BlockIndex = tuple[np.ndarray, ...]
"""Indices of some blocks of a level: (image, row, column), [n] each."""

_USED = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]], np.int16)
"""Mask of the fields that each mode uses, [modes, 6]."""
_MOST_SYMBOLS = 8
"""Upper bound of symbols per block of 4 nodes: merge, mode, blur, four components, and a third has a split flag."""


class Setting(NamedTuple):
    """Information that encoder and decoder share before a tree is coded.

    Attributes:
        distances: Display number of each reference minus that of the picture; the second is 0 if there is none.
        earlier: Tree of an earlier picture, its vectors scaled to these distances, or None.
    """

    distances: tuple[int, int]
    earlier: MotionTree | None = None

    @property
    def has_second(self) -> bool:
        """Whether there is a second reference."""
        return self.distances[1] != 0

    @property
    def is_between(self) -> bool:
        """True if one reference is displayed before the picture and one after it."""
        return self.distances[0] * self.distances[1] < 0


class LeafContext(NamedTuple):
    """Context of some blocks before their fields are coded.

    Attributes:
        first: Candidate with the most votes, [n, 6].
        second: Candidate with the second most votes, [n, 6].
        base: Prediction of new fields, [n, 6]: mode and blur of the first candidate, medians of the vector components.
        merge: Row of the merge symbol, [n].
        spread: Class of the distance between the candidates, 0 to 4, [n].
        fine: 1 on the two finest levels, else 0.
        between: 1 if the references lie on both sides of the picture, else 0.
    """

    first: Fields
    second: Fields
    base: Fields
    merge: Int64[np.ndarray, " n"]
    spread: Int64[np.ndarray, " n"]
    fine: int
    between: int


class TreeCoder(Protocol):
    """Interface that a walk calls for the fields and the split flags of some blocks of a level."""

    def fields(self, level: int, index: BlockIndex, context: LeafContext, setting: Setting) -> Fields:
        """Code the fields of some blocks.

        Args:
            level: Level of the blocks.
            index: Indices of the n blocks.
            context: Their context.
            setting: Distances of the references, and earlier tree.
        Returns:
            Fields of the blocks as the decoder has them, [n, 6].
        """
        ...

    def split(self, level: int, index: BlockIndex, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Code the split flags of some blocks.

        Args:
            level: Level of the blocks.
            index: Indices of the n blocks.
            rows: Row of the table of each flag, [n].
        Returns:
            Whether each block is split, [n].
        """
        ...


def walk(grid: BlockGrid, setting: Setting, coder: TreeCoder) -> MotionTree:
    """Code a tree from the coarsest level to the finest.

    Args:
        grid: Blocks of the grid.
        setting: Distances of the references, and earlier tree.
        coder: Coder of the fields and split flags.
    Returns:
        The tree as the decoder has it.
    """
    earlier = setting.earlier
    blocks = _start(grid, earlier)
    active = np.ones(grid.shape(0), bool)
    split_above = np.ones(grid.shape(0), bool)
    level_of = np.zeros(grid.shape(LAST), np.int8)
    for level in range(LAST + 1):
        if level:
            blocks, active = children(blocks), children(split_above)
        hint = blocks if earlier is None else _sampled(earlier.leaves, level)
        for first_y, first_x in ((0, 0), (0, 1), (1, 0), (1, 1))[1 if level else 0 :]:
            index = _every_second(active, first_y, first_x)
            if len(index[0]):
                context = _leaf_context(grid, blocks, hint, level, index, setting)
                blocks[index] = coder.fields(level, index, context, setting)
        if level == LAST:
            break
        split_above = _code_splits(grid, setting, coder, level, blocks, active)
        size = WIDTHS[level] // WIDTHS[LAST]
        level_of[split_above.repeat(size, 1).repeat(size, 2)] = level + 1
    return MotionTree(blocks, level_of)


def _start(grid: BlockGrid, earlier: MotionTree | None) -> Leaves:
    if earlier is None:
        return np.zeros((*grid.shape(0), 6), np.int16)
    return _sampled(earlier.leaves, 0).copy()


def _sampled(blocks: np.ndarray, level: int) -> np.ndarray:
    """Values of the finest block next to the centre of each block of a level."""
    size = WIDTHS[level] // WIDTHS[LAST]
    return blocks[:, size // 2 :: size, size // 2 :: size]


def _every_second(active: np.ndarray, first_y: int, first_x: int) -> BlockIndex:
    image, y, x = np.nonzero(active[:, first_y::2, first_x::2])
    return image, 2 * y + first_y, 2 * x + first_x


def _leaf_context(
    grid: BlockGrid, blocks: Leaves, hint: Leaves, level: int, index: BlockIndex, setting: Setting
) -> LeafContext:
    around = grid.around(blocks, level)[index]
    candidates = np.concatenate(
        [blocks[index][:, None], around, hint[index][:, None]], 1
    )  # [n, 6 candidates, 6 fields]
    used = candidates * _USED[candidates[..., MODE]]
    same = (used[:, :, None] == used[:, None]).all(-1)  # [n, 6, 6]
    votes = same.sum(2)
    rows = np.arange(len(candidates))
    first = votes.argmax(1)
    others = np.where(same[rows, first], 0, votes)
    second = others.argmax(1)
    has_second = others[rows, second] > 0
    a, b = candidates[rows, first], candidates[rows, second]
    base = np.sort(candidates[:, :5], axis=1)[:, 2]
    base[:, [MODE, BLUR]] = a[:, [MODE, BLUR]]
    distance = np.abs(candidates[:, :5, A0:].astype(np.int32) - base[:, None, A0:]).max((1, 2))
    spread = np.digitize(distance, (1, 3, 8, 24))
    merge = KINDS["merge"].row(int(setting.has_second), level, votes[rows, first] - 1, has_second)
    return LeafContext(a, b, base, merge, spread, int(level >= LAST - 1), int(setting.is_between))


def _code_splits(
    grid: BlockGrid, setting: Setting, coder: TreeCoder, level: int, blocks: Leaves, active: np.ndarray
) -> Bool[np.ndarray, "images rows columns"]:
    flags = np.zeros(active.shape, bool)
    used = blocks * _USED[blocks[..., MODE]]
    around = grid.around(blocks, level)
    around = around * _USED[around[..., MODE]]
    differing = (around != used[..., None, :]).any(-1).sum(-1)
    if setting.earlier is None:
        deeper = np.full(active.shape, 2)
    else:
        deeper = (_deepest(setting.earlier.level, level) > level).astype(np.int64)
    _, y, x = np.indices(active.shape)
    half = (y + x) % 2
    for turn in (0, 1):
        index = np.nonzero(active & (half == turn))
        if len(index[0]):
            beside = grid.flags_around(flags if turn else active, level).sum(-1)
            rows = KINDS["split"].row(turn, level, differing[index], deeper[index], beside[index])
            flags[index] = coder.split(level, index, rows)
    return flags


def _deepest(levels: np.ndarray, level: int) -> np.ndarray:
    size = WIDTHS[level] // WIDTHS[LAST]
    images, rows, columns = levels.shape
    return levels.reshape(images, rows // size, size, columns // size, size).max((2, 4))


def delta_rows(context: LeafContext, other: np.ndarray | None) -> Int64[np.ndarray, " n"]:
    """Compute the table rows of a vector difference's components.

    Args:
        context: Context of n blocks.
        other: Differences of the first components, [n], for the rows of the second ones; None for those of the first.
    Returns:
        Rows, [n].
    """
    size = 0 if other is None else 1 + np.digitize(np.abs(other), (1, 3))
    return KINDS["delta"].row(context.between, context.fine, context.spread, size)


def completed(fields: Fields, setting: Setting) -> Fields:
    """Fill in unused vectors, in place, by scaling the used ones to the distances of the references.

    Args:
        fields: Fields, [n, 6].
        setting: Distances of the references.
    Returns:
        The same array.
    """
    if not setting.has_second:
        fields[:, A1:] = 0
        return fields
    d0, d1 = setting.distances
    only_first, only_second = fields[:, MODE] == FIRST, fields[:, MODE] == SECOND
    fields[only_first, A1:] = scaled(fields[only_first, A0 : B0 + 1], d1, d0)
    fields[only_second, A0 : B0 + 1] = scaled(fields[only_second, A1:], d0, d1)
    return fields


def scaled(vectors: Int16[np.ndarray, "*n 2"], numerator: int, denominator: int) -> Int16[np.ndarray, "*n 2"]:
    """Multiply vectors by a fraction, rounding to the nearest integer (halves up) and clipping to the limit.

    Args:
        vectors: Vectors, [..., 2].
        numerator: Numerator of the fraction.
        denominator: Denominator, not 0.
    Returns:
        Scaled vectors, [..., 2].
    """
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient = (2 * vectors.astype(np.int64) * numerator + denominator) // (2 * denominator)
    return np.clip(quotient, -VECTOR_LIMIT, VECTOR_LIMIT).astype(np.int16)


def earlier_tree(tree: MotionTree, distances: tuple[int, int], target: tuple[int, int]) -> MotionTree:
    """Convert the tree of an earlier picture to a hint for another one.

    Args:
        tree: Tree of the earlier picture.
        distances: Distances of the earlier picture's references.
        target: Distances of the references of the picture to be coded.
    Returns:
        Tree with vectors scaled to `target`.
    """
    fields = tree.leaves.copy()
    motion = np.where(
        (fields[..., MODE] == SECOND)[..., None],
        scaled(fields[..., A1:], distances[0], distances[1] or distances[0]),
        fields[..., A0 : B0 + 1],
    )
    fields[..., A0 : B0 + 1] = scaled(motion, target[0], distances[0])
    fields[..., A1:] = scaled(motion, target[1], distances[0]) if target[1] else 0
    fields[..., BLUR] = 0
    if target[1] == 0:
        fields[..., MODE] = FIRST
    elif target[0] * target[1] < 0:
        fields[..., MODE] = MEAN
    return MotionTree(fields, tree.level)


class _Writing:
    """Tree coder that writes a given tree."""

    def __init__(self, tree: MotionTree, writer: SymbolWriter, tables: MotionTables) -> None:
        self.tree, self.writer, self.tables = tree, writer, tables

    def fields(self, level: int, index: BlockIndex, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        image, y, x = index
        choice = choices(self.tree.leaves[image, y * size, x * size], context, setting)
        self._put(choice.symbols, choice.rows)
        return choice.fields

    def split(self, level: int, index: BlockIndex, rows: np.ndarray) -> np.ndarray:
        flags = self.tree.split(level)[index]
        self._put(flags.astype(np.int64), rows)
        return flags

    def _put(self, symbols: np.ndarray, rows: np.ndarray) -> None:
        self.writer.write(torch.from_numpy(symbols), torch.from_numpy(rows), self.tables)  # type: ignore[arg-type]


class Choice(NamedTuple):
    """Symbols of some blocks, in the order in which they are coded.

    Attributes:
        fields: Fields of the blocks as the decoder has them, [n, 6].
        symbols: Values of the symbols, [symbols].
        rows: Row of the table of each symbol, [symbols].
        blocks: Block that each symbol belongs to, 0 to n - 1, [symbols].
    """

    fields: Fields
    symbols: Int64[np.ndarray, " symbols"]
    rows: Int64[np.ndarray, " symbols"]
    blocks: Int64[np.ndarray, " symbols"]


def choices(target: Fields, context: LeafContext, setting: Setting) -> Choice:
    """Convert the fields of blocks to symbols.

    Args:
        target: Fields to code, [n, 6].
        context: Context of the blocks.
        setting: Distances of the references.
    Returns:
        Symbols, and the fields as the decoder has them.
    """
    mask = _USED[target[:, MODE]]
    is_first, is_second = (
        ((each[:, MODE] == target[:, MODE]) & ((each - target) * mask == 0).all(1))
        for each in (context.first, context.second)
    )
    merge = np.where(is_first, 0, np.where(is_second, 1, 2))
    fields = np.where(is_first[:, None], context.first, np.where(is_second[:, None], context.second, target))
    new = np.nonzero(merge == 2)[0]
    parts = [(merge, context.merge, np.arange(len(merge)))]
    parts += [(*part, new[some]) for *part, some in _new_symbols(target[new], _subset(context, new), setting)]
    fields[new] = completed(fields[new], setting)
    symbols, rows, blocks = (np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True))
    return Choice(fields, symbols, rows, blocks)


def _new_symbols(
    target: Fields, context: LeafContext, setting: Setting
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Symbols, their rows and the blocks they belong to, part by part in the order of coding."""
    base, every, parts = context.base, np.arange(len(target)), []
    if setting.has_second:
        parts.append((target[:, MODE], KINDS["mode"].row(base[:, MODE]), every))
    parts.append((target[:, BLUR], KINDS["blur"].row(base[:, BLUR]), every))
    for a, b, mode in ((A0, B0, FIRST), (A1, B1, SECOND)):
        some = np.nonzero((target[:, MODE] == mode) | (target[:, MODE] == MEAN))[0]
        chosen, delta = _subset(context, some), (target[some].astype(np.int64) - base[some])
        parts.append((delta[:, a], delta_rows(chosen, None), some))
        parts.append((delta[:, b], delta_rows(chosen, delta[:, a]), some))
    return parts


def _subset(context: LeafContext, some: np.ndarray) -> LeafContext:
    first, second, base, merge, spread, fine, between = context
    return LeafContext(first[some], second[some], base[some], merge[some], spread[some], fine, between)


class _Reading:
    """Tree coder that reads a tree."""

    def __init__(self, reader: SymbolReader, tables: MotionTables) -> None:
        self.reader, self.tables = reader, tables

    def fields(self, level: int, index: BlockIndex, context: LeafContext, setting: Setting) -> Fields:
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

    def split(self, level: int, index: BlockIndex, rows: np.ndarray) -> np.ndarray:
        return self._get(rows, 2) == 1

    def _get(self, rows: np.ndarray, symbols: int = 0) -> np.ndarray:
        symbols_read = self.reader.read(torch.from_numpy(rows), self.tables).numpy()  # type: ignore[arg-type]
        if symbols and len(symbols_read) and not (0 <= symbols_read.min() and symbols_read.max() < symbols):
            raise DamagedStream("the motion holds a symbol that is never written")
        return symbols_read


def write_tree(
    tree: MotionTree, grid: BlockGrid, setting: Setting, tables: MotionTables, writer: SymbolWriter
) -> MotionTree:
    """Code a motion tree.

    Args:
        tree: Tree to code.
        grid: Blocks of its grid.
        setting: Distances of the references, and earlier tree.
        tables: Tables of the symbols.
        writer: Writer that receives the symbols.
    Returns:
        The tree as the decoder will have it; vectors that are not used may differ.
    """
    return walk(grid, setting, _Writing(tree, writer, tables))


def read_tree(grid: BlockGrid, setting: Setting, tables: MotionTables, reader: SymbolReader) -> MotionTree:
    """Decode a motion tree.

    Args:
        grid: Blocks of its grid.
        setting: Distances of the references, and earlier tree.
        tables: Tables of the symbols.
        reader: Reader of the symbols.
    Returns:
        The tree.
    Raises:
        DamagedStream: the bytes cannot have been written by `write_tree`.
    """
    reader.expect(_MOST_SYMBOLS * int(np.prod(grid.shape(LAST))))
    return walk(grid, setting, _Reading(reader, tables))


assert DELTA < VECTOR_LIMIT
