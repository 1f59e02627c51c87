"""Adjacency of the twelve HEALPix faces: each face padded with a border of its neighbours' nodes.

Eight points of the sphere are shared by three faces only (the N and S corners of the equatorial faces, the E and W
corners of the polar ones). Beyond such a corner there is no node, and the padded face holds -1 there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

MISSING = -1

Padded = Int64[np.ndarray, "12 side side"]


def padded_faces(nside: int, depth: int) -> Padded:
    """Compute the face-major node indices of the twelve faces with a border `depth` nodes wide.

    Args:
        nside: Nodes along a face's edge, >= 1.
        depth: Width of the border in nodes, 1 .. nside.
    Returns:
        Node indices, [12, nside + 2 depth, nside + 2 depth]. Axis 1 is y, axis 2 is x: entry [f, depth + y, depth + x]
        is node (x, y) of face f. -1 beyond three-face corners.
    Raises:
        ValueError: depth outside 1 .. nside.
    """
    if not 1 <= depth <= nside:
        raise ValueError(f"halo depth {depth} at nside {nside}: it must lie in 1..{nside}; take a smaller depth")
    inside = slice(depth, depth + nside)
    padded = np.full((12, nside + 2 * depth, nside + 2 * depth), MISSING, np.int64)
    padded[:, inside, inside] = np.arange(12 * nside * nside).reshape(12, nside, nside)
    for rows, columns in _border_regions(nside, depth):
        face, y, x = np.ogrid[0:12, rows, columns]
        padded[:, _shift(rows, depth), _shift(columns, depth)] = _index_outside(face, x, y, nside)
    return padded


def _border_regions(n: int, d: int) -> list[tuple[slice, slice]]:
    below, inside, above = slice(-d, 0), slice(0, n), slice(n, n + d)
    parts = (below, inside, above)
    return [(rows, columns) for rows in parts for columns in parts if not (rows is inside and columns is inside)]


def _shift(part: slice, depth: int) -> slice:
    return slice(part.start + depth, part.stop + depth)


def _index_outside(face: np.ndarray, x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """Indices of nodes that lie outside their face: cross one edge, then the other in the new face's frame."""
    face, x, y = np.broadcast_arrays(face, x, y)
    polar = (face < 4) | (face >= 8)
    east_west = ((x >= n) & (y < 0)) | ((x < 0) & (y >= n))
    north_south = ((x >= n) & (y >= n)) | ((x < 0) & (y < 0))
    hole = np.where(polar, east_west, north_south)
    for _ in range(2):
        face, x, y = _cross_edge(face, x, y, n)
    return np.where(hole, MISSING, (face * n + y) * n + x)


def _cross_edge(face: np.ndarray, x: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Express nodes in the frame of the face across the edge they lie beyond (x first); nodes inside are unchanged.

    Two equatorial neighbours, and an equatorial and a polar one, have parallel axes: only the coordinate across the
    edge wraps. Around a pole the next face is turned by 90 degrees, so x and y are exchanged.
    """
    band, column = face // 4, face % 4
    west, east = (column + 3) % 4, (column + 1) % 4
    ne, sw = x >= n, x < 0
    nw, se = (y >= n) & ~ne & ~sw, (y < 0) & ~ne & ~sw
    north, middle, south = band == 0, band == 1, band == 2
    wrapped_x, wrapped_y = np.mod(x, n), np.mod(y, n)
    # (condition, face, x, y); past the pole, depth d = x - n becomes row n - 1 - d, or -1 - d becomes row d.
    rules = [
        (north & ne, east, y, 2 * n - 1 - x),
        (north & nw, west, 2 * n - 1 - y, x),
        (north & sw, 4 + column, wrapped_x, y),
        (north & se, 4 + east, x, wrapped_y),
        (middle & ne, column, wrapped_x, y),
        (middle & nw, west, x, wrapped_y),
        (middle & sw, 8 + west, wrapped_x, y),
        (middle & se, 8 + column, x, wrapped_y),
        (south & ne, 4 + east, wrapped_x, y),
        (south & nw, 4 + column, x, wrapped_y),
        (south & sw, 8 + west, y, -1 - x),
        (south & se, 8 + east, -1 - y, x),
    ]
    conditions = [rule[0] for rule in rules]
    new_face, new_x, new_y = (
        np.select(conditions, [rule[part] for rule in rules], default=old) for part, old in ((1, face), (2, x), (3, y))
    )
    return new_face, new_x, new_y
