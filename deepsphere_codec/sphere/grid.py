"""The HEALPix grid in face-major order: node (x, y) of a face has index (face * nside + y) * nside + x.

x runs towards north-east and y towards north-west; the face numbers are HEALPix's own. nside need not be a power of
two, nor even. A parent is a 2 x 2 block of children, so twelve faces are twelve images as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from deepsphere_codec.sphere.faces import Padded, padded_faces
from deepsphere_codec.sphere.positions import (
    FACE_LON,
    FACE_ROW,
    chart_steps,
    dir_to_face_xy,
    face_frame,
    face_xy_to_dir,
)

__all__ = ["NEIGHBOR_STEPS", "HealpixGrid", "dir_to_face_xy", "face_xy_to_dir"]

NodeVectors = Float64[np.ndarray, "npix 3"]
NodeIndex = Int64[np.ndarray, " npix"]

NEIGHBOR_STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""(dx, dy) of the neighbours SW, W, NW, N, NE, E, SE, S."""


@dataclass(frozen=True)
class HealpixGrid:
    """Positions, neighbours and hierarchy of the 12 nside^2 nodes; arrays are computed at their first use.

    Args:
        nside: Nodes along a face's edge, a whole number >= 1.
    Raises:
        ValueError: nside is not a whole number >= 1.
    """

    nside: int

    def __post_init__(self) -> None:
        if isinstance(self.nside, bool) or not isinstance(self.nside, int | np.integer) or self.nside < 1:
            raise ValueError(f"nside is {self.nside!r}: it must be a whole number of at least 1")
        object.__setattr__(self, "nside", int(self.nside))

    @staticmethod
    @lru_cache(maxsize=16)
    def cached(nside: int) -> HealpixGrid:
        """Return the shared grid of a resolution; its arrays are shared too and must not be written to."""
        return HealpixGrid(nside)

    @property
    def npix(self) -> int:
        """Number of nodes, 12 nside^2."""
        return 12 * self.nside * self.nside

    @property
    def side(self) -> int:
        """Nodes along a face's edge, equal to nside."""
        return self.nside

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the signal as images: (12, nside, nside)."""
        return 12, self.nside, self.nside

    @cached_property
    def face_xy(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(face, x, y) of each node, [npix] each: its face and its position in it."""
        n = self.nside
        face, y, x = (axis.reshape(-1) for axis in np.indices((12, n, n)))
        return face, x, y

    @cached_property
    def centers(self) -> NodeVectors:
        """Unit vectors of the node centres, [npix, 3], float64."""
        return face_xy_to_dir(*self.face_xy, self.nside)

    @cached_property
    def frame(self) -> tuple[NodeVectors, NodeVectors]:
        """Tangent basis (e_x, e_y) at each node, [npix, 3] each, orthonormal, e_x cross e_y pointing outwards.

        e_x is the unit direction of increasing x, e_y the perpendicular nearest to increasing y.
        """
        return face_frame(*self.face_xy, self.nside)

    @property
    def steps(self) -> Float64[np.ndarray, "npix 2 3"]:
        """Tangent vectors of one step in x and one in y at each node, [npix, 2, 3], in radians."""
        return chart_steps(*self.face_xy, self.nside)

    def halo(self, depth: int) -> Padded:
        """Compute the node indices of the faces with a border of their neighbours' nodes.

        Args:
            depth: Width of the border in nodes, 1 .. nside.
        Returns:
            Node indices, [12, nside + 2 depth, nside + 2 depth], axis 1 is y, axis 2 is x; -1 beyond three-face
            corners.
        Raises:
            ValueError: depth outside 1 .. nside.
        """
        return padded_faces(self.nside, depth)

    @cached_property
    def neighbors(self) -> Int64[np.ndarray, "npix 8"]:
        """The eight neighbours SW, W, NW, N, NE, E, SE, S of each node, [npix, 8]; -1 where there is none.

        24 nodes, three around each of eight corners, have seven.
        """
        n, padded = self.nside, self.halo(1)
        shifted = [padded[:, 1 + dy : 1 + dy + n, 1 + dx : 1 + dx + n] for dx, dy in NEIGHBOR_STEPS]
        return np.stack(shifted, axis=-1).reshape(-1, 8)

    @cached_property
    def parents(self) -> NodeIndex:
        """Index of each node's parent in the grid of nside / 2, [npix].

        Raises:
            ValueError: nside is odd.
        """
        half = self.parent().nside
        face, x, y = self.face_xy
        return (face * half + y // 2) * half + x // 2

    def parent(self) -> HealpixGrid:
        """Return the grid of nside / 2.

        Raises:
            ValueError: nside is odd.
        """
        if self.nside % 2:
            raise ValueError(f"nside {self.nside} is odd: only grids of an even nside have parents")
        return HealpixGrid.cached(self.nside // 2)

    @cached_property
    def children(self) -> Int64[np.ndarray, "npix 4"]:
        """Indices of each node's children in the grid of 2 nside, [npix, 4], (x, y) = (0,0), (1,0), (0,1), (1,1)."""
        double = 2 * self.nside
        face, x, y = self.face_xy
        first = (face * double + 2 * y) * double + 2 * x
        return first[:, None] + np.array([0, 1, double, double + 1])

    @cached_property
    def to_ring(self) -> NodeIndex:
        """RING index of each node, [npix]: `ring_map[grid.to_ring]` is the same map in face-major order."""
        n = self.nside
        face, x, y = self.face_xy
        ring = FACE_ROW[face] * n - x - y - 1
        quarter = np.minimum(np.minimum(ring, 4 * n - ring), n)
        start_north, start_south = 2 * quarter * (quarter - 1), self.npix - 2 * quarter * (quarter + 1)
        start_belt = 2 * n * (n - 1) + (ring - n) * 4 * n
        ring_start = np.where(ring < n, start_north, np.where(ring > 3 * n, start_south, start_belt))
        # Longitude in steps of the ring; where the ring starts half a step in, the halves are rounded down.
        return ring_start + ((FACE_LON[face] * quarter + x - y) // 2) % (4 * quarter)

    @cached_property
    def from_ring(self) -> NodeIndex:
        """Face-major index of each RING index, [npix]: `x[grid.from_ring]` is the map in RING order."""
        return _inverse(self.to_ring)

    @cached_property
    def to_nested(self) -> NodeIndex:
        """NESTED index of each node, [npix].

        Raises:
            ValueError: nside is not a power of two.
        """
        n = self.nside
        if n & (n - 1):
            raise ValueError(f"nside {n} is not a power of two: NESTED order does not exist for it; use RING")
        face, x, y = self.face_xy
        nested = face * n * n
        for bit in range(n.bit_length() - 1):
            nested = nested | (x >> bit & 1) << 2 * bit | (y >> bit & 1) << 2 * bit + 1
        return nested

    @cached_property
    def from_nested(self) -> NodeIndex:
        """Face-major index of each NESTED index, [npix].

        Raises:
            ValueError: nside is not a power of two.
        """
        return _inverse(self.to_nested)


def _inverse(permutation: NodeIndex) -> NodeIndex:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(permutation.size)
    return inverse
