"""The motion tree: leaves of 64 to 4 nodes along an edge, and the neighbourhood of its blocks.

HEALPix is a quadtree: a pixel of one level is a block of four pixels of the next finer one. A motion tree splits the
pixels of nside / 64 where that lowers the rate-distortion cost, down to nside / 4. Each leaf holds the displacement of
its nodes in one or two decoded pictures.

    level                 0    1    2    3    4
    nodes along an edge  64   32   16    8    4

On an ERP picture the same blocks form one image; a patch of either, for training, is one image without neighbours.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int16

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.faces import padded_faces

WIDTHS = (64, 32, 16, 8, 4)
"""Nodes along the edge of a leaf, by level."""
LAST = len(WIDTHS) - 1
STEP = 0.25
"""Unit of the vectors, in nodes."""
VECTOR_LIMIT = 1023
"""Largest component of a vector, in units of STEP: 256 nodes, which is a radian at nside 256."""
BLURS = 3
"""Number of blur levels of a leaf; level 0 is sharp."""
FIRST, SECOND, MEAN = 0, 1, 2
"""Modes: predicted from the first reference, the second, or the mean of both."""
MODE, BLUR, A0, B0, A1, B1 = range(6)
"""Fields of a leaf: mode, blur, and the vectors (a, b) in steps of x and y towards the first and second reference."""

Leaves = Int16[np.ndarray, "images rows columns 6"]


class MotionTree(NamedTuple):
    """A motion tree, expanded to the finest level.

    Attributes:
        leaves: Fields of the leaf that each block of 4 nodes belongs to, [images, rows, columns, 6].
        level: Level of that leaf, 0 to LAST, [images, rows, columns].
    """

    leaves: Leaves
    level: Int[np.ndarray, "images rows columns"]

    @property
    def leaf_count(self) -> int:
        """Number of leaves."""
        counts = np.bincount(self.level.ravel(), minlength=LAST + 1)
        return int(sum(count >> 2 * (LAST - level) for level, count in enumerate(counts)))

    def split(self, level: int) -> Bool[np.ndarray, "images rows columns"]:
        """Return whether each block of a level is split further; also False for blocks inside a leaf."""
        size = WIDTHS[level] // WIDTHS[LAST]
        return self.level[:, ::size, ::size] > level


class BlockGrid:
    """Blocks of each level, and the neighbours of each block.

    A vector has the same components in adjacent faces except around the poles, where the next face's x and y are
    rotated: next to the common edge one step northwards along it is y in one face and x in the other, and one step
    eastwards is (1, -1) in both. So (a, b) in the next face is (-b, a + 2 b) in the block's own across the NE edges of
    the northern faces and the SW edges of the southern ones, and (2 a + b, -a) across their NW and SE edges. Both maps
    have integer coefficients and are inverse to each other.

    Args:
        grid: The sphere, an ERP picture, or a patch of either; rows and columns multiples of 64.
    Raises:
        ValueError: the rows or columns are not multiples of 64.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.images, rows, columns = grid.shape
        if rows % WIDTHS[0] or columns % WIDTHS[0]:
            raise ValueError(f"{grid} has {rows} x {columns} nodes: expected multiples of {WIDTHS[0]}")
        self.rows, self.columns = rows, columns

    def shape(self, level: int) -> tuple[int, int, int]:
        """Return the numbers of images, rows and columns of the blocks of a level."""
        return self.images, self.rows // WIDTHS[level], self.columns // WIDTHS[level]

    def around(self, leaves: Leaves, level: int) -> Int16[np.ndarray, "images rows columns 4 6"]:
        """Gather the fields of the four blocks that share an edge with each block.

        Args:
            leaves: Fields of the blocks of a level, [images, rows, columns, 6].
            level: The level.
        Returns:
            Fields of the blocks W, E, S and N in the image, [images, rows, columns, 4, 6], vectors in the block's own
            frame.
        """
        index, turn = self._neighbors[level]
        fields = leaves.reshape(-1, leaves.shape[-1])[index]
        for kind, sides in turn.items():
            fields[sides] = turned(fields[sides], kind)
        return fields.reshape(*leaves.shape[:3], 4, leaves.shape[-1])

    def flags_around(self, flags: np.ndarray, level: int) -> np.ndarray:
        """Gather a value of the four blocks that share an edge with each block.

        Args:
            flags: Value of each block of a level, [images, rows, columns].
            level: The level.
        Returns:
            Values of the blocks W, E, S and N in the image, [images, rows, columns, 4].
        """
        return flags.reshape(-1)[self._neighbors[level][0]].reshape(*flags.shape, 4)

    @cached_property
    def _neighbors(self) -> list[tuple[Int[np.ndarray, "blocks 4"], dict[int, tuple[np.ndarray, ...]]]]:
        return [self._neighbors_of(level) for level in range(LAST + 1)]

    def _neighbors_of(self, level: int) -> tuple[np.ndarray, dict[int, tuple[np.ndarray, ...]]]:
        images, rows, columns = self.shape(level)
        if isinstance(self.grid, HealpixGrid):
            padded = padded_faces(rows, 1)
        elif isinstance(self.grid, ErpGrid):
            padded = ErpGrid(rows, columns).halo(1)
        else:
            padded = np.pad(np.arange(rows * columns).reshape(1, rows, columns), ((0, 0), (1, 1), (1, 1)), mode="edge")
        steps = ((1, 0), (1, 2), (0, 1), (2, 1))  # (y, x) of W, E, S, N in the padded images
        index = np.stack([padded[:, y : y + rows, x : x + columns] for y, x in steps], -1)
        turn: dict[int, tuple[np.ndarray, ...]] = {}
        if isinstance(self.grid, HealpixGrid):
            kinds = np.zeros(index.shape, np.int8)
            kinds[0:4, :, -1, 1] = kinds[8:12, :, 0, 0] = 1
            kinds[0:4, -1, :, 3] = kinds[8:12, 0, :, 2] = 2
            turn = {kind: np.nonzero(kinds.reshape(-1, 4) == kind) for kind in (1, 2)}
        elif isinstance(self.grid, ErpGrid):
            kinds = np.zeros(index.shape, np.int8)
            kinds[:, 0, :, 2] = kinds[:, -1, :, 3] = 3
            turn = {3: np.nonzero(kinds.reshape(-1, 4) == 3)}
        return index.reshape(-1, 4), turn


def turned(fields: Int16[np.ndarray, "n 6"], kind: int) -> Int16[np.ndarray, "n 6"]:
    """Convert vectors (a, b) to the frame across an edge.

    Args:
        fields: Fields, [n, 6].
        kind: Kind of the edge: 1 gives (-b, a + 2 b), 2 gives (2 a + b, -a), 3 (over a pole of an ERP picture) (a, -b).
    Returns:
        Fields with the converted vectors, [n, 6].
    """
    result = fields.copy()
    for i, j in ((A0, B0), (A1, B1)):
        a, b = fields[..., i].astype(np.int32), fields[..., j].astype(np.int32)
        pair = {1: (-b, a + 2 * b), 2: (2 * a + b, -a), 3: (a, -b)}[kind]
        result[..., i], result[..., j] = (np.clip(part, -VECTOR_LIMIT, VECTOR_LIMIT) for part in pair)
    return result


def children(blocks: np.ndarray) -> np.ndarray:
    """Copy the value of each block, [images, rows, columns, ...], to its 2 x 2 children."""
    return blocks.repeat(2, 1).repeat(2, 2)


def still_tree(grid: BlockGrid) -> MotionTree:
    """Create a tree of zero motion towards the first reference."""
    shape = grid.shape(LAST)
    return MotionTree(np.zeros((*shape, 6), np.int16), np.zeros(shape, np.int8))
