"""The equirectangular picture (ERP) as a grid of nodes, as if it were a plane: what planar twins of the codecs run on.

One picture, row by row: pixel (row, column) has index row * width + column. Nothing here knows that it shows a sphere,
but for its borders: columns wrap, and over a pole lies the same row again, half a turn further. A step of one pixel is
2 pi / width radians to either side and up or down, whatever the latitude; x is the column, y the row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from deepsphere_codec.sphere.erp import erp_area_weights

Vectors = Float64[np.ndarray, "npix 3"]


class ErpNodes(ABC):
    """What a picture and a part of one have alike."""

    width: int
    """Of the whole picture."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """The signal as images: their number, rows, columns."""

    @property
    @abstractmethod
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        """Of each row: the solid angle of its pixels, relative to the equator's."""

    @property
    def npix(self) -> int:
        """Number of nodes."""
        return math.prod(self.shape)

    @property
    def side(self) -> int:
        """Nodes along a row."""
        return self.shape[2]

    @property
    def frame(self) -> tuple[Vectors, Vectors]:
        """Directions of increasing x and y, the same at each node: motion is (x, y, 0)."""
        e_x, e_y = np.eye(3)[:2]
        return np.tile(e_x, (self.npix, 1)), np.tile(e_y, (self.npix, 1))

    @property
    def steps(self) -> Float64[np.ndarray, "npix 2 3"]:
        """One step in x and one in y, radians."""
        return np.stack(self.frame, 1) * (2 * math.pi / self.width)


@dataclass(frozen=True)
class ErpGrid(ErpNodes):
    """All pixels of a picture.

    Args:
        height, width: Of the picture; the width even, since half a turn is half of it.
    Raises:
        ValueError: no such picture.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 2 or self.width % 2:
            raise ValueError(f"picture of {self.width} x {self.height}: expected an even width and at least one row")

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, self.height, self.width

    @property
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        return erp_area_weights(self.height)

    def halo(self, depth: int) -> Int64[np.ndarray, "1 rows columns"]:
        """Indices of the picture with a border of what lies across the seam and over the poles.

        Returns:
            [1, height + 2 depth, width + 2 depth].
        Raises:
            ValueError: depth outside 1 .. height.
        """
        if not 1 <= depth <= self.height:
            raise ValueError(f"halo depth {depth} of a picture of {self.height} rows: it must lie in 1..{self.height}")
        row, column = np.ogrid[-depth : self.height + depth, -depth : self.width + depth]
        beyond = (row < 0) | (row >= self.height)
        inside = np.where(row < 0, -1 - row, np.where(row >= self.height, 2 * self.height - 1 - row, row))
        return (inside * self.width + (column + beyond * (self.width // 2)) % self.width)[None]

    def parent(self) -> ErpGrid:
        """The picture of half the size."""
        if self.height % 2 or self.width % 4:
            raise ValueError(f"{self} has no parents: the height must be even, the width a multiple of 4")
        return ErpGrid(self.height // 2, self.width // 2)


@dataclass(frozen=True)
class ErpPatch(ErpNodes):
    """Pixels (row + i, column + j), 0 ≤ i < rows, 0 ≤ j < columns, of a picture; index i * columns + j.

    Args:
        height, width: Of the whole picture.
        row, column: Of the first pixel.
        rows, columns: Of the patch.
    Raises:
        ValueError: the patch leaves the picture.
    """

    height: int
    width: int
    row: int
    column: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        last_row, last_column = self.row + self.rows, self.column + self.columns
        if not (0 <= self.row < last_row <= self.height and 0 <= self.column < last_column <= self.width):
            raise ValueError(f"{self} leaves its picture, or is empty")

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, self.rows, self.columns

    @property
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        return erp_area_weights(self.height)[self.row : self.row + self.rows]

    @cached_property
    def nodes(self) -> Int64[np.ndarray, " npix"]:
        """Index of each node in the whole picture, [npix]."""
        i, j = np.indices((self.rows, self.columns)).reshape(2, -1)
        return (self.row + i) * self.width + self.column + j

    def parent(self) -> ErpPatch:
        """The patch of the parents, in the picture of half the size."""
        sizes = self.height, self.width, self.row, self.column, self.rows, self.columns
        if any(n % 2 for n in sizes):
            raise ValueError(f"{self} has no parents: all of it must be even")
        return ErpPatch(*(n // 2 for n in sizes))

    def inner(self, edge: int) -> ErpPatch:
        """What is left within a margin."""
        return replace(
            self,
            row=self.row + edge,
            column=self.column + edge,
            rows=self.rows - 2 * edge,
            columns=self.columns - 2 * edge,
        )
