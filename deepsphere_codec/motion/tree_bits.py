"""Bits of a motion tree's symbols, and their distribution over the sphere."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from deepsphere_codec.entropy.coder import Tables, bits_of
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.syntax import BlockIndex, Fields, LeafContext, Setting, choices, walk
from deepsphere_codec.motion.tree import LAST, WIDTHS, BlockGrid, MotionTree


def bits_of_tree(
    tree: MotionTree, grid: BlockGrid, setting: Setting, tables: MotionTables
) -> Float64[np.ndarray, "images rows columns"]:
    """Compute the bits of a tree, distributed evenly over the finest blocks of the block that each symbol describes.

    Args:
        tree: Tree as the decoder has it.
        grid: Blocks of its grid.
        setting: Distances of the references, and earlier tree.
        tables: Tables that it was coded with.
    Returns:
        Bits of each block of 4 nodes, [images, rows, columns].
    """
    cost = _Costing(tree, grid, tables)
    walk(grid, setting, cost)
    return cost.bits


class _Costing:
    """Tree coder that records the cost of the symbols instead of writing them."""

    def __init__(self, tree: MotionTree, grid: BlockGrid, tables: MotionTables) -> None:
        self.tree, self.grid = tree, grid
        self.tables = plain_tables(tables)
        self.bits: Float64[np.ndarray, "images rows columns"] = np.zeros(grid.shape(LAST))

    def fields(self, level: int, index: BlockIndex, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        image, y, x = index
        choice = choices(self.tree.leaves[image, y * size, x * size], context, setting)
        self._note(level, tuple(axis[choice.blocks] for axis in index), choice.symbols, choice.rows)
        return choice.fields

    def split(self, level: int, index: BlockIndex, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        flags = self.tree.split(level)[index]
        self._note(level, index, flags.astype(np.int64), rows)
        return flags

    def _note(self, level: int, index: tuple[np.ndarray, ...], symbols: np.ndarray, rows: np.ndarray) -> None:
        spent = np.zeros(self.grid.shape(level))
        np.add.at(spent, index, bits_of(torch.from_numpy(symbols), torch.from_numpy(rows), self.tables).numpy())
        size = WIDTHS[level] // WIDTHS[LAST]
        self.bits += (spent / size**2).repeat(size, 1).repeat(size, 2)


def plain_tables(tables: Tables | MotionTables) -> Tables:
    """Return the tables unchanged, or those of a motion tree's symbols as `Tables`."""
    if isinstance(tables, MotionTables):
        return Tables(tables.tree_cdf, tables.tree_length, tables.tree_offset)
    return tables
