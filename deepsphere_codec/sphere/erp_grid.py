"""The equirectangular picture (ERP) as a grid of nodes on a plane, for the planar counterparts of the codecs.

Nodes are the pixels in row-major order: pixel (row, column) has index row * width + column. The grid is treated as a
plane except at its borders: columns wrap, and over a pole lies the same row again, shifted by 180 degrees. A step of
one pixel counts as 2 pi / width radians in every direction, at every latitude; x is the column, y the row.
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
    """Common interface of an ERP picture and a patch of one."""

    width: int
    """Columns of the whole picture."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Shape of the signal as images: (images, rows, columns)."""

    @property
    @abstractmethod
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        """Cosine of each row's latitude: the solid angle of its pixels relative to the equator's, [rows]."""

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
        """Directions of increasing x and y, [npix, 3] each, the same at every node; a motion vector is (x, y, 0)."""
        e_x, e_y = np.eye(3)[:2]
        return np.tile(e_x, (self.npix, 1)), np.tile(e_y, (self.npix, 1))

    @property
    def steps(self) -> Float64[np.ndarray, "npix 2 3"]:
        """Vectors of one step in x and one in y at each node, [npix, 2, 3], in radians."""
        return np.stack(self.frame, 1) * (2 * math.pi / self.width)


@dataclass(frozen=True)
class ErpGrid(ErpNodes):
    """Grid of all pixels of an ERP picture.

    Args:
        height: Rows of the picture.
        width: Columns of the picture; even, since the padding over a pole shifts by width / 2.
    Raises:
        ValueError: height below 1, or width odd or below 2.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 2 or self.width % 2:
            raise ValueError(f"picture of {self.width} x {self.height}: expected an even width and at least one row")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the signal as images: (1, height, width)."""
        return 1, self.height, self.width

    @property
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        """Cosine of each row's latitude, [height]."""
        return erp_area_weights(self.height)

    def halo(self, depth: int) -> Int64[np.ndarray, "1 rows columns"]:
        """Compute the node indices of the picture with a border that wraps in longitude and over the poles.

        Args:
            depth: Width of the border in pixels, 1 .. height.
        Returns:
            Node indices, [1, height + 2 depth, width + 2 depth].
        Raises:
            ValueError: depth outside 1 .. height.
        """
        if not 1 <= depth <= self.height:
            raise ValueError(f"halo depth {depth} of a picture of {self.height} rows: it must lie in 1..{self.height}")
        row, column = np.ogrid[-depth : self.height + depth, -depth : self.width + depth]
        over_pole = (row < 0) | (row >= self.height)
        inside = np.where(row < 0, -1 - row, np.where(row >= self.height, 2 * self.height - 1 - row, row))
        return (inside * self.width + (column + over_pole * (self.width // 2)) % self.width)[None]

    def parent(self) -> ErpGrid:
        """Return the grid of the picture of half the size.

        Raises:
            ValueError: height odd, or width not a multiple of 4.
        """
        if self.height % 2 or self.width % 4:
            raise ValueError(f"{self} has no parents: the height must be even, the width a multiple of 4")
        return ErpGrid(self.height // 2, self.width // 2)


@dataclass(frozen=True)
class ErpPatch(ErpNodes):
    """Grid of a rectangle of an ERP picture: pixel (row + i, column + j) has index i * columns + j.

    Args:
        height: Rows of the whole picture.
        width: Columns of the whole picture.
        row: First row of the patch.
        column: First column of the patch.
        rows: Rows of the patch, >= 1.
        columns: Columns of the patch, >= 1.
    Raises:
        ValueError: the patch is empty or extends beyond the picture.
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
        """Shape of the signal as images: (1, rows, columns)."""
        return 1, self.rows, self.columns

    @property
    def cos_lat(self) -> Float64[np.ndarray, " rows"]:
        """Cosine of each row's latitude, [rows]."""
        return erp_area_weights(self.height)[self.row : self.row + self.rows]

    @cached_property
    def nodes(self) -> Int64[np.ndarray, " npix"]:
        """Index of each node in the whole picture, [npix]."""
        i, j = np.indices((self.rows, self.columns)).reshape(2, -1)
        return (self.row + i) * self.width + self.column + j

    def parent(self) -> ErpPatch:
        """Return the patch of the parents, in the picture of half the size.

        Raises:
            ValueError: one of the six sizes and positions is odd.
        """
        sizes = self.height, self.width, self.row, self.column, self.rows, self.columns
        if any(n % 2 for n in sizes):
            raise ValueError(f"{self} has no parents: all of it must be even")
        return ErpPatch(*(n // 2 for n in sizes))

    def inner(self, edge: int) -> ErpPatch:
        """Return the patch without a margin of `edge` pixels on each side."""
        return replace(
            self,
            row=self.row + edge,
            column=self.column + edge,
            rows=self.rows - 2 * edge,
            columns=self.columns - 2 * edge,
        )
