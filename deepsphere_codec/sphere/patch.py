"""A square block of one face, used for training in place of the whole sphere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from deepsphere_codec.sphere.positions import chart_steps, face_frame, face_xy_to_dir


@dataclass(frozen=True)
class PatchGrid:
    """Grid of a square block of one face: node (x0 + i, y0 + j) has index j * side + i.

    Args:
        nside: Resolution of the sphere that the block is cut from.
        face: HEALPix face number 0..11.
        x0: First node along x (towards NE).
        y0: First node along y (towards NW).
        side: Nodes along the block's edge.
    Raises:
        ValueError: the block extends beyond the face.
    """

    nside: int
    face: int
    x0: int
    y0: int
    side: int

    def __post_init__(self) -> None:
        if not (0 <= self.face < 12 and 0 <= min(self.x0, self.y0) and max(self.x0, self.y0) + self.side <= self.nside):
            raise ValueError(f"{self} leaves its face: expected 0 <= x0, y0 <= nside - side and a face of 0..11")

    @property
    def npix(self) -> int:
        """Number of nodes, side²."""
        return self.side * self.side

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the signal as images: (1, side, side)."""
        return 1, self.side, self.side

    @cached_property
    def face_xy(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(face, x, y) of each node, [npix] each."""
        y, x = (axis.reshape(-1) for axis in np.indices((self.side, self.side)))
        return np.full_like(x, self.face), x + self.x0, y + self.y0

    @cached_property
    def centers(self) -> np.ndarray:
        """Unit vectors of the node centres, [npix, 3], float64."""
        return face_xy_to_dir(*self.face_xy, self.nside)

    @cached_property
    def frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Tangent basis (e_x, e_y) at each node, [npix, 3] each; see `HealpixGrid.frame`."""
        return face_frame(*self.face_xy, self.nside)

    @property
    def steps(self) -> np.ndarray:
        """Tangent vectors of one step in x and one in y at each node, [npix, 2, 3], in radians."""
        return chart_steps(*self.face_xy, self.nside)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Index of each node in the whole sphere's face-major order, [npix]."""
        face, x, y = self.face_xy
        return (face * self.nside + y) * self.nside + x

    def parent(self) -> PatchGrid:
        """Return the block of the parents, at nside / 2.

        Raises:
            ValueError: nside, x0, y0 or side is odd.
        """
        if any(n % 2 for n in (self.nside, self.x0, self.y0, self.side)):
            raise ValueError(f"{self} has no parents: nside, x0, y0 and side must be even")
        return PatchGrid(self.nside // 2, self.face, self.x0 // 2, self.y0 // 2, self.side // 2)

    def inner(self, edge: int) -> PatchGrid:
        """Return the block without a margin of `edge` nodes on each side."""
        return replace(self, x0=self.x0 + edge, y0=self.y0 + edge, side=self.side - 2 * edge)
