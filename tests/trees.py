"""Trees of motion for the tests: random ones, and one vector for a whole picture."""

from __future__ import annotations

import numpy as np
import torch

from deepsphere_codec.entropy.coder import SymbolReader, SymbolWriter
from deepsphere_codec.layers.padding import Grid, make_padding
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.prediction import blur_levels
from deepsphere_codec.motion.syntax import Setting, completed, read_tree, write_tree
from deepsphere_codec.motion.tree import (
    A0,
    B1,
    BLUR,
    BLURS,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    VECTOR_LIMIT,
    BlockGrid,
    MotionTree,
    children,
)

USED = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]], np.int16)
"""By mode: the fields that count."""
ONE, TWO, BETWEEN = Setting((-1, 0)), Setting((-1, -4)), Setting((-2, 2))


def random_tree(
    blocks: BlockGrid,
    setting: Setting,
    seed: int,
    *,
    splits: float = 0.5,
    reach: int = 12,
    alike: float = 0.5,
    blurs: int = BLURS,
) -> MotionTree:
    """A tree of chance.

    Args:
        splits: Share of the blocks that are split.
        reach: Largest component of a vector, in quarter nodes.
        alike: Share of the leaves that have one of three sets of fields.
        blurs: Blur levels in use.
    """
    rng = np.random.default_rng(seed)

    def fields(*shape: int) -> np.ndarray:
        found = rng.integers(-reach, reach + 1, (*shape, 6)).astype(np.int16)
        found[..., MODE] = rng.integers(0, MEAN + 1, shape) if setting.has_second else FIRST
        found[..., BLUR] = rng.integers(0, blurs, shape)
        return found

    few = fields(3)
    leaves = np.zeros((*blocks.shape(0), 6), np.int16)
    level_of, active = np.zeros(blocks.shape(0), np.int8), np.ones(blocks.shape(0), bool)
    for level in range(LAST + 1):
        if level:
            split = active & (rng.random(active.shape) < splits)
            active, leaves, level_of = children(split), children(leaves), children(level_of)
            level_of[active] = level
        own = fields(*active.shape)
        repeated = rng.random(active.shape) < alike
        own[repeated] = few[rng.integers(0, len(few), int(repeated.sum()))]
        leaves[active] = own[active]
    completed(leaves.reshape(-1, 6), setting)
    return MotionTree(leaves, level_of)


def uniform_tree(blocks: BlockGrid, setting: Setting, *, mode: int = FIRST, blur: int = 0, vectors=(0, 0, 0, 0)):  # type: ignore[no-untyped-def]
    """A tree without splits that has the same fields everywhere, vectors (a0, b0, a1, b1) in quarter nodes."""
    leaves = np.zeros((*blocks.shape(LAST), 6), np.int16)
    leaves[..., MODE], leaves[..., BLUR], leaves[..., A0 : B1 + 1] = mode, blur, vectors
    return MotionTree(leaves, np.zeros(blocks.shape(LAST), np.int8))


def encoded(tree: MotionTree, blocks: BlockGrid, setting: Setting, tables: MotionTables) -> tuple[bytes, MotionTree]:
    """The bytes of a tree, and the tree that the encoder goes on with."""
    writer = SymbolWriter()
    after = write_tree(tree, blocks, setting, tables, writer)
    return writer.finish(), after


def decoded(payload: bytes, blocks: BlockGrid, setting: Setting, tables: MotionTables) -> MotionTree:
    """The tree of some bytes."""
    return read_tree(blocks, setting, tables, SymbolReader(payload))


def same_tree(one: MotionTree, other: MotionTree) -> bool:
    """Whether all numbers are the same."""
    return np.array_equal(one.leaves, other.leaves) and np.array_equal(one.level, other.level)


def used_fields(tree: MotionTree) -> np.ndarray:
    """Fields that count; the others are zero."""
    return tree.leaves * USED[tree.leaves[..., MODE]]


def is_valid(tree: MotionTree, blocks: BlockGrid, setting: Setting) -> bool:
    """Whether a tree is one: all numbers in range, and blocks of a leaf alike."""
    fields, level = tree
    in_range = np.isin(fields[..., MODE], (FIRST, SECOND, MEAN) if setting.has_second else (FIRST,)).all()
    in_range &= ((fields[..., BLUR] >= 0) & (fields[..., BLUR] < BLURS)).all()
    in_range &= bool((np.abs(fields[..., A0:]) <= VECTOR_LIMIT).all() and level.min() >= 0 and level.max() <= LAST)
    y, x = np.indices(level.shape[1:])
    size = 1 << (LAST - level.astype(np.int64))
    first = fields[np.arange(len(level))[:, None, None], y // size * size, x // size * size]
    return bool(in_range and level.shape == blocks.shape(LAST) and np.array_equal(first, fields))


def lumas(x: torch.Tensor, grid: Grid) -> list[np.ndarray]:
    """Luma [1, npix, 1] at all blur levels, as the search takes it."""
    return [each[0, :, 0].numpy() for each in blur_levels(x, make_padding(grid))]
