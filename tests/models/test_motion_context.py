"""What a picture's motion tells: counts of the blocks of each kind, speed and spread, as a loop over them finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trees import BETWEEN, ONE, TWO, random_tree, uniform_tree

from deepsphere_codec.models.motion_context import MOTION_CHANNELS, motion_context
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.motion.syntax import Setting
from deepsphere_codec.motion.tree import A0, A1, B1, BLUR, FIRST, MEAN, MODE, SECOND, BlockGrid, MotionTree
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

GRIDS = [HealpixGrid.cached(64), PatchGrid(256, 2, 0, 0, 256), ErpGrid(128, 256)]
SPEED, SPREAD = 10, 11
"""Their channels: behind five levels, three modes, and two blurs."""


def context_of(tree: MotionTree, blocks: BlockGrid, distances: tuple[int, int]) -> torch.Tensor:
    return motion_context(Motion.of([tree]), blocks.columns // 16, distances)[0]


def of_blocks(fields: list[list[int]], levels: list[int], distances: tuple[int, int]) -> list[int]:
    """Numbers that tell of the 16 blocks of one node."""
    told = [7 * levels.count(level) for level in range(5)]
    told += [7 * [field[MODE] for field in fields].count(mode) for mode in (FIRST, SECOND, MEAN)]
    told += [7 * [field[BLUR] for field in fields].count(blur) for blur in (1, 2)]
    pairs = [field[A1 : A1 + 2] if field[MODE] == SECOND else field[A0 : A0 + 2] for field in fields]
    told.append(sum(abs(a) + abs(b) for a, b in pairs) // 16)
    told.append(sum(max(axis) - min(axis) for axis in zip(*pairs, strict=True)))
    return [min(127, value) for value in told + [8 * abs(distance) for distance in distances]]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("setting", [ONE, TWO, BETWEEN], ids=["one", "two", "between"])
def test_it_is_that_of_the_blocks_of_each_node(grid, setting: Setting):
    blocks = BlockGrid(grid)
    tree = random_tree(blocks, setting, 4, splits=0.7)
    told = context_of(tree, blocks, setting.distances)
    images, rows, columns = tree.level.shape
    assert told.shape == (images * rows * columns // 16, MOTION_CHANNELS)
    nodes = [(i, y, x) for i in range(images) for y in range(0, rows, 4) for x in range(0, columns, 4)]
    for node, (i, y, x) in enumerate(nodes):
        part = i, slice(y, y + 4), slice(x, x + 4)
        fields, levels = tree.leaves[part].reshape(16, 6).tolist(), tree.level[part].flatten().tolist()
        assert told[node].tolist() == of_blocks(fields, levels, setting.distances)
    assert not told.is_floating_point() and told[:, :SPEED].any(0).sum() == (8 if setting is ONE else 10)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_of_one_leaf_all_is_told_alike(grid):
    """16 blocks a node, 7 each; the vector's components add up; nothing differs within."""
    blocks = BlockGrid(grid)
    told = context_of(uniform_tree(blocks, BETWEEN, mode=MEAN, blur=2, vectors=(3, -5, 90, 90)), blocks, (-2, 3))
    assert told.unique(dim=0).tolist() == [[112, 0, 0, 0, 0, 0, 0, 112, 0, 112, 8, 0, 16, 24]]


def test_vectors_of_a_reference_that_is_not_used_do_not_count():
    blocks = BlockGrid(GRIDS[0])
    for mode, unused in ((FIRST, slice(A1, B1 + 1)), (SECOND, slice(A0, A1))):
        tree = uniform_tree(blocks, BETWEEN, mode=mode, vectors=(6, 1, 6, 1))
        moved = MotionTree(tree.leaves.copy(), tree.level)
        moved.leaves[..., unused] = np.random.default_rng(1).integers(-99, 99, moved.leaves[..., unused].shape)
        told, other = (context_of(each, blocks, (-1, 1)) for each in (tree, moved))
        assert torch.equal(told, other) and (told[:, SPEED] == 7).all()


def test_large_numbers_end_at_the_largest_of_eight_bits():
    blocks = BlockGrid(GRIDS[0])
    tree = uniform_tree(blocks, BETWEEN, vectors=(1023, -1023, 0, 0))
    tree.leaves[:, ::4, ::4, A0] = -1023
    told = context_of(tree, blocks, (-900, 16))
    assert told.min() == 0 and told.max() == 127
    assert (told[:, [SPEED, SPREAD, -2, -1]] == 127).all()


def test_trees_of_a_batch_are_told_each_by_itself():
    blocks = BlockGrid(GRIDS[0])
    trees = [random_tree(blocks, TWO, seed) for seed in range(3)]
    together = motion_context(Motion.of(trees), blocks.columns // 16, TWO.distances)
    assert torch.equal(together, torch.stack([context_of(tree, blocks, TWO.distances) for tree in trees]))
