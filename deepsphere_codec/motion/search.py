"""Search for the motion tree with the lowest cost, lambda · error + bits; used by the encoder only.

1. Whole-node vectors, coarse to fine, on means over parents (nside / 8, / 4, / 2).
2. Quarter-node vectors of blocks of 8 nodes towards each reference, then mode and blur.
3. Blocks of 4 nodes, and of 16 to 64, starting from the fields of adjacent and finer blocks; then pruning from the
   finest level up.
4. One or more walks in the order of the syntax: each leaf copies a candidate if that costs less than its own fields.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.motion import kernels
from deepsphere_codec.motion.contexts import DELTA, KINDS, MotionTables
from deepsphere_codec.motion.halo import bend, border_depth, border_index
from deepsphere_codec.motion.syntax import BlockIndex, Fields, LeafContext, Setting, completed, delta_rows, walk
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    BLURS,
    FIRST,
    LAST,
    MODE,
    SECOND,
    WIDTHS,
    BlockGrid,
    Leaves,
    MotionTree,
    children,
)

_RADIUS = 4
"""Radius of the full search at nside / 8, in its nodes: 32 nodes of the picture."""
_SPLIT_BITS = 1.0


class Effort(NamedTuple):
    """Effort of the search.

    Attributes:
        walks: Number of walks over the tree in the order of its syntax; each starts from the previous one's result.
        steps: Sizes of the refinement steps of a leaf's vectors in a walk, quarter nodes.
        blurs: Number of blur levels to try, if the model has as many.
        chooses_blocks: Whether to omit the residual of blocks where it costs more than it gains.
    """

    walks: int
    steps: tuple[int, ...]
    blurs: int
    chooses_blocks: bool = True


EFFORTS = {
    "fast": Effort(1, (), 1, chooses_blocks=False),
    "medium": Effort(2, (2, 1), BLURS),
    "slow": Effort(3, (4, 2, 1), BLURS),
}
"""Efforts by the names of the command's presets."""
MEDIUM = EFFORTS["medium"]
ROWS = np.array([KINDS["mode"].first, KINDS["blur"].first, DELTA])
"""Argument `rows` of `kernels.symbol_bits`."""


class Problem(NamedTuple):
    """Input of the search: picture, references and trade-off.

    Attributes:
        x: Luma of the picture, [images, rows, columns].
        refs: Luma of the references with borders, at each blur level to try, [2, blurs, images, rows, columns].
        setting: Distances of the references, and earlier tree.
        lmbda: Weight of the squared error in bits, for each block of 64 nodes, [images, y, x].
    """

    x: Float32[np.ndarray, "images rows columns"]
    refs: Float32[np.ndarray, "two blurs images height width"]
    setting: Setting
    lmbda: Float32[np.ndarray, "images y x"]


class MotionSearch:
    """Search for motion trees on one grid.

    Args:
        grid: The sphere, an ERP picture, or a patch of either.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid, self.blocks = grid, BlockGrid(grid)
        self.grids = [grid]
        for _ in range(3):
            self.grids.append(self.grids[-1].parent())
        self.borders = [border_index(each) for each in self.grids]
        self.depths = [border_depth(each) for each in self.grids]
        self.bend = bend(grid)

    def problem(
        self,
        luma: Float32[np.ndarray, " npix"],
        refs: list[list[Float32[np.ndarray, " npix"]]],
        setting: Setting,
        lmbda: Float32[np.ndarray, "images y x"] | float,
    ) -> Problem:
        """Arrange pictures and references for the search.

        Args:
            luma: Luma of the picture, [npix].
            refs: For each of one or two references, its luma at each blur level, [npix] each.
            setting: Distances of the references, and earlier tree.
            lmbda: Weight of the squared error in bits, for each block of 64 nodes, [images, y, x], or for all.
        Returns:
            The input of the search.
        """
        weights = np.broadcast_to(np.float32(lmbda), self.blocks.shape(0)).astype(np.float32)
        planes = [[ref.reshape(-1)[self.borders[0]] for ref in levels] for levels in refs]
        if len(planes) == 1:
            planes = planes * 2
        return Problem(luma.reshape(self.grid.shape), np.ascontiguousarray(planes), setting, weights)

    def __call__(self, problem: Problem, tables: MotionTables, effort: Effort = MEDIUM) -> MotionTree:
        """Search the tree with the lowest cost; each leaf is chosen by its exact bits in the order of the syntax.

        Args:
            problem: Picture, references and trade-off.
            tables: Tables that the tree will be coded with.
            effort: Effort of the search.
        Returns:
            The tree.
        """
        tree = self.unordered(problem)
        for _ in range(effort.walks):
            chooser = _Choosing(self, problem, tree, tables, effort.steps)
            tree = _collapsed(walk(self.blocks, problem.setting, chooser))
        return tree

    def unordered(self, problem: Problem) -> MotionTree:
        """Search the tree with the lowest cost by estimates of its bits, with as many threads as torch uses."""
        second = problem.setting.has_second
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            run = _each_image(pool, self.blocks.images)
            hint = self._hint(problem.setting)
            vectors = np.zeros((2, *self.blocks.shape(LAST - 1), 2), np.int16)
            for which in range(1 + second):
                vectors[which] = self._vectors(problem, which, hint, run)
            fields_and_costs = self._blocks(problem, vectors, hint, run)
        tree = _pruned(self.blocks, *fields_and_costs)
        completed(tree.leaves.reshape(-1, tree.leaves.shape[-1]), problem.setting)
        return tree

    def _hint(self, setting: Setting) -> Leaves:
        """Fields of the earlier tree at the blocks of 8 nodes."""
        if setting.earlier is None:
            return np.zeros((*self.blocks.shape(LAST - 1), 6), np.int16)
        return np.ascontiguousarray(setting.earlier.leaves[:, 1::2, 1::2])

    def _vectors(self, problem: Problem, which: int, hint: Leaves, run: Run) -> np.ndarray:
        """Quarter-node vectors of the blocks of 8 nodes towards one reference."""
        depth = self.depths[0]
        inside = slice(depth, -depth)
        pictures = [problem.x], [problem.refs[which, 0][:, inside, inside]]
        for _ in range(3):
            for stack in pictures:
                stack.append(_halved(stack[-1]))
        start = np.zeros((self.blocks.images, 1, 1, 2), np.int32)
        for level in (3, 2, 1):
            images, rows, columns = self.grids[level].shape
            ref = pictures[1][level].reshape(-1)[self.borders[level]]
            vectors_at_level = np.zeros((images, rows // 4, columns // 4, 2), np.int32)
            radius = _RADIUS if level == 3 else 0
            run(kernels.coarse, pictures[0][level], ref, self.depths[level], start, radius, vectors_at_level)
            start = vectors_at_level
        vectors = np.zeros((*self.blocks.shape(LAST - 1), 2), np.int16)
        costs = np.zeros(self.blocks.shape(LAST - 1), np.float32)
        column = A1 if which else A0
        hints = np.ascontiguousarray(hint[..., column : column + 2])
        x, refs, _, lmbda = problem
        run(kernels.fine, x, refs, self.bend, depth, start, hints, which, lmbda, vectors, costs)
        return vectors

    def _blocks(
        self, problem: Problem, vectors: np.ndarray, hint: Leaves, run: Run
    ) -> tuple[list[Leaves], list[np.ndarray]]:
        """Fields and costs of the blocks of each level, as if they were leaves."""
        shapes = [self.blocks.shape(level) for level in range(LAST + 1)]
        fields = [np.zeros((*shape, 6), np.int16) for shape in shapes]
        costs = [np.zeros(shape, np.float32) for shape in shapes]
        x, refs, setting, lmbda = problem
        place = x, refs, self.bend, self.depths[0]
        eighth, errors = fields[LAST - 1], np.zeros(shapes[LAST - 1], np.float32)
        run(kernels.choose_eighth, *place, vectors, lmbda, setting.has_second, refs.shape[1], eighth, errors)
        for level in range(LAST - 2, -1, -1):
            size = WIDTHS[level] // WIDTHS[LAST]
            run(kernels.choose_above, *place, fields[level + 1], size, hint, lmbda, fields[level])
        fields[LAST][:] = children(eighth)
        for level in range(LAST + 1):
            above, size = max(level - 1, 0), WIDTHS[level] // WIDTHS[LAST]
            run(kernels.settle, *place, fields[above], costs[above], size, hint, lmbda, fields[level], costs[level])
        return fields, costs


Run = Callable[..., None]
"""Function that calls a kernel for every image, with the remaining arguments, on several threads."""


def _each_image(pool: ThreadPoolExecutor, images: int) -> Run:
    def run(kernel: Callable[..., None], *arguments: Any) -> None:
        for _ in pool.map(lambda f: kernel(f, *arguments), range(images)):
            pass

    return run


def _halved(picture: np.ndarray) -> np.ndarray:
    """Means over parents, [images, rows / 2, columns / 2]."""
    upper, lower = picture[:, ::2], picture[:, 1::2]
    rows = upper + lower
    return (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)


def _pruned(blocks: BlockGrid, fields: list[Leaves], costs: list[np.ndarray]) -> MotionTree:
    """Split blocks whose four children cost less, from the finest level up."""
    below = costs[LAST]
    splits = []
    for level in range(LAST - 1, -1, -1):
        images, rows, columns = below.shape
        deeper = below.reshape(images, rows // 2, 2, columns // 2, 2).sum((2, 4)) + _SPLIT_BITS
        splits.append(deeper < costs[level])
        below = np.minimum(deeper, costs[level])
    chosen, level_of = fields[0], np.zeros(blocks.shape(0), np.int8)
    active = np.ones(blocks.shape(0), bool)
    for level, split in enumerate(reversed(splits)):
        active = children(active & split)
        chosen, level_of = children(chosen), children(level_of)
        chosen[active] = fields[level + 1][active]
        level_of[active] = level + 1
    return MotionTree(chosen, level_of)


def _collapsed(tree: MotionTree) -> MotionTree:
    """Remove splits into four identical leaves."""
    level_of = tree.level.copy()
    for level in range(LAST, 0, -1):
        size = WIDTHS[level] // WIDTHS[LAST]
        leaves, levels = tree.leaves[:, ::size, ::size], level_of[:, ::size, ::size]
        images, rows, columns = levels.shape
        four = leaves.reshape(images, rows // 2, 2, columns // 2, 2, -1)
        alike = (four == four[:, :, :1, :, :1]).all((2, 4, 5))
        alike &= (levels == level).reshape(images, rows // 2, 2, columns // 2, 2).all((2, 4))
        level_of[alike.repeat(2 * size, 1).repeat(2 * size, 2)] = level - 1
    return MotionTree(tree.leaves, level_of)


def bounded(tree: MotionTree, reach: float) -> MotionTree:
    """Replace leaves whose vectors are too long by zero motion towards the first reference.

    Args:
        tree: Tree to limit.
        reach: Largest allowed sum of the absolute values of a vector's two components, in quarter nodes.
    Returns:
        The limited tree.
    """
    fields = tree.leaves.astype(np.int32)
    first, second = (np.abs(fields[..., a : a + 2]).sum(-1) for a in (A0, A1))
    mode = fields[..., MODE]
    too_long = ((mode != SECOND) & (first > reach)) | ((mode != FIRST) & (second > reach))
    return tree._replace(leaves=np.where(too_long[..., None], np.int16(0), tree.leaves))


class _Choosing:
    """Tree coder that decides for each leaf, in the order of the syntax, whether to copy a candidate."""

    def __init__(
        self, search: MotionSearch, problem: Problem, tree: MotionTree, tables: MotionTables, steps: tuple[int, ...]
    ) -> None:
        self.search, self.problem, self.tree = search, problem, tree
        self.bits, self.steps = tables.bits, np.array(steps, np.int64)

    def fields(self, level: int, index: BlockIndex, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        place = np.stack([index[0], index[1] * size, index[2] * size], 1)
        at = tuple(place.T)
        sizes = np.array(WIDTHS)[self.tree.level[at]] // WIDTHS[LAST]
        own_fields, base = (completed(each, setting) for each in (self.tree.leaves[at], context.base.copy()))
        offers = np.stack([context.first, context.second, own_fields, base], 1)
        fields, moved = np.zeros(own_fields.shape, np.int16), np.zeros(len(place), bool)
        x, refs, _, lmbda = self.problem
        kernels.choose_leaves(
            x, refs, self.search.bend, self.search.depths[0], lmbda, place, sizes, offers, context.merge,
            delta_rows(context, None), setting.has_second, self.bits, ROWS, self.steps, fields, moved,
        )  # fmt: skip
        fields[moved] = completed(fields[moved], setting)
        return fields

    def split(self, level: int, index: BlockIndex, rows: np.ndarray) -> np.ndarray:
        return self.tree.split(level)[index]
