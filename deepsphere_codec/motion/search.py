"""Search for the tree of motion that costs least, error · lambda + bits: the encoder's part alone.

1. Whole-node vectors, coarse to fine, on means over parents (nside / 8, / 4, / 2).
2. Quarter-node vectors of blocks of 8 nodes towards each reference, then mode and blur.
3. Blocks of 4 nodes, and of 16 to 64, each from what was found beside and below it; pruning from the finest level up.
4. One walk in the order of the syntax: each leaf takes over a candidate where that costs less than its own vector.
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
from deepsphere_codec.motion.syntax import Fields, LeafContext, Setting, Where, completed, delta_rows, walk
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
    """How long is searched.

    Attributes:
        walks: Over the tree in the order of its syntax; the second sees what the first took over.
        steps: Quarter nodes that a leaf's vectors are moved by in a walk, as far as that lowers what it costs.
        blurs: Blur levels that are tried, if the model has as many.
        chooses_blocks: Whether a residual is left out where it does not pay.
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
"""By the names of the command's presets."""
MEDIUM = EFFORTS["medium"]
ROWS = np.array([KINDS["mode"].first, KINDS["blur"].first, DELTA])
"""Rows and place that `kernels.symbol_bits` is told."""


class Problem(NamedTuple):
    """Pictures, references and trade-off that a tree is searched for.

    Attributes:
        x: Luma of the picture, [images, rows, columns].
        refs: Luma of the references with borders, by blur level that is tried, [2, blurs, images, rows, columns].
        setting: References and earlier tree.
        lmbda: Bits that a unit of squared error is worth, of each block of 64 nodes, [images, y, x].
    """

    x: Float32[np.ndarray, "images rows columns"]
    refs: Float32[np.ndarray, "two blurs images height width"]
    setting: Setting
    lmbda: Float32[np.ndarray, "images y x"]


class MotionSearch:
    """Search on one grid.

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
        """Put pictures in place.

        Args:
            luma: Of the picture.
            refs: Of each reference, its luma by blur level.
        """
        weights = np.broadcast_to(np.float32(lmbda), self.blocks.shape(0)).astype(np.float32)
        planes = [[ref.reshape(-1)[self.borders[0]] for ref in levels] for levels in refs]
        if len(planes) == 1:
            planes = planes * 2
        return Problem(luma.reshape(self.grid.shape), np.ascontiguousarray(planes), setting, weights)

    def __call__(self, problem: Problem, tables: MotionTables, effort: Effort = MEDIUM) -> MotionTree:
        """The tree that costs least, each leaf chosen by what it costs in the order of the syntax."""
        tree = self.unordered(problem)
        for _ in range(effort.walks):
            chooser = _Choosing(self, problem, tree, tables, effort.steps)
            tree = _collapsed(walk(self.blocks, problem.setting, chooser))
        return tree

    def unordered(self, problem: Problem) -> MotionTree:
        """The tree by estimates of its bits; as many threads work as torch has."""
        second = problem.setting.has_second
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            run = _each_image(pool, self.blocks.images)
            hint = self._hint(problem.setting)
            vectors = np.zeros((2, *self.blocks.shape(LAST - 1), 2), np.int16)
            for which in range(1 + second):
                vectors[which] = self._vectors(problem, which, hint, run)
            found = self._blocks(problem, vectors, hint, run)
        tree = _pruned(self.blocks, *found)
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
            found = np.zeros((images, rows // 4, columns // 4, 2), np.int32)
            radius = _RADIUS if level == 3 else 0
            run(kernels.coarse, pictures[0][level], ref, self.depths[level], start, radius, found)
            start = found
        vectors = np.zeros((*self.blocks.shape(LAST - 1), 2), np.int16)
        costs = np.zeros(self.blocks.shape(LAST - 1), np.float32)
        column = A1 if which else A0
        own = np.ascontiguousarray(hint[..., column : column + 2])
        x, refs, _, lmbda = problem
        run(kernels.fine, x, refs, self.bend, depth, start, own, which, lmbda, vectors, costs)
        return vectors

    def _blocks(
        self, problem: Problem, vectors: np.ndarray, hint: Leaves, run: Run
    ) -> tuple[list[Leaves], list[np.ndarray]]:
        """Fields and costs of the blocks of each level, as leaves."""
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
"""Calls a kernel for every image, with what follows, by several threads."""


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
    """Split where the four children cost less, from the finest level up."""
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
    """Without splits into four leaves that are all alike."""
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
    """The tree without vectors that lead too far: such leaves stay where they are, seen in the first reference.

    Args:
        reach: Largest sum of a vector's two components without signs, in quarter nodes.
    """
    fields = tree.leaves.astype(np.int32)
    first, second = (np.abs(fields[..., a : a + 2]).sum(-1) for a in (A0, A1))
    mode = fields[..., MODE]
    far = ((mode != SECOND) & (first > reach)) | ((mode != FIRST) & (second > reach))
    return tree._replace(leaves=np.where(far[..., None], np.int16(0), tree.leaves))


class _Choosing:
    """Decides, in the order of the syntax, whether a leaf takes over a candidate or keeps its own fields."""

    def __init__(
        self, search: MotionSearch, problem: Problem, tree: MotionTree, tables: MotionTables, steps: tuple[int, ...]
    ) -> None:
        self.search, self.problem, self.tree = search, problem, tree
        self.bits, self.steps = tables.bits, np.array(steps, np.int64)

    def fields(self, level: int, where: Where, context: LeafContext, setting: Setting) -> Fields:
        size = WIDTHS[level] // WIDTHS[LAST]
        place = np.stack([where[0], where[1] * size, where[2] * size], 1)
        at = tuple(place.T)
        sizes = np.array(WIDTHS)[self.tree.level[at]] // WIDTHS[LAST]
        own, base = (completed(each, setting) for each in (self.tree.leaves[at], context.base.copy()))
        offers = np.stack([context.first, context.second, own, base], 1)
        fields, moved = np.zeros(own.shape, np.int16), np.zeros(len(place), bool)
        x, refs, _, lmbda = self.problem
        kernels.choose_leaves(
            x, refs, self.search.bend, self.search.depths[0], lmbda, place, sizes, offers, context.merge,
            delta_rows(context, None), setting.has_second, self.bits, ROWS, self.steps, fields, moved,
        )  # fmt: skip
        fields[moved] = completed(fields[moved], setting)
        return fields

    def split(self, level: int, where: Where, rows: np.ndarray) -> np.ndarray:
        return self.tree.split(level)[where]
