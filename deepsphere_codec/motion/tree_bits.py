"""Costs of symbols, and their places on the sphere for the symbols of a tree of motion."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from deepsphere_codec.entropy.coder import Tables, bits_of
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.syntax import Fields, LeafContext, Setting, Where, choices, walk
from deepsphere_codec.motion.tree import LAST, WIDTHS, BlockGrid, MotionTree


def bits_of_tree(
    tree: MotionTree, grid: BlockGrid, setting: Setting, tables: MotionTables
) -> Float64[np.ndarray, "images rows columns"]:
    """Bits of a tree, spread evenly over the finest blocks of each block that they tell of.

    Args:
        tree: As the decoder has it.
        grid: Its blocks.
        setting: What was known before it.
        tables: That it was coded with.
    """
    cost = _Costing(tree, grid, tables)
    walk(grid, setting, cost)
    return cost.bits


class _Costing:
    """Goes the way of a writer, and notes costs instead of writing: a coder for `walk`."""

    def __init__(self, tree: MotionTree, grid: BlockGrid, tables: MotionTables) -> None:
        self.tree, self.grid = tree, grid
        self.tables = plain_tables(tables)
        self.bits: Float64[np.ndarray, "images rows columns"] = np.zeros(grid.shape(LAST))

    def fields(self, level: int, where: Where, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        image, y, x = where
        choice = choices(self.tree.leaves[image, y * size, x * size], context, setting)
        self._note(level, tuple(axis[choice.blocks] for axis in where), choice.symbols, choice.rows)
        return choice.fields

    def split(self, level: int, where: Where, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        flags = self.tree.split(level)[where]
        self._note(level, where, flags.astype(np.int64), rows)
        return flags

    def _note(self, level: int, where: tuple[np.ndarray, ...], symbols: np.ndarray, rows: np.ndarray) -> None:
        spent = np.zeros(self.grid.shape(level))
        np.add.at(spent, where, bits_of(torch.from_numpy(symbols), torch.from_numpy(rows), self.tables).numpy())
        size = WIDTHS[level] // WIDTHS[LAST]
        self.bits += (spent / size**2).repeat(size, 1).repeat(size, 2)


def plain_tables(tables: Tables | MotionTables) -> Tables:
    """Tables as they are, or those of a tree's symbols."""
    if isinstance(tables, MotionTables):
        return Tables(tables.tree_cdf, tables.tree_length, tables.tree_offset)
    return tables
