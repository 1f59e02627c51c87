"""Images with a wide border, as the search for motion sees them.

Beyond a face's edge straight on is where a geodesic goes, to first order: around the poles that is not the node that
faces the edge but one along it, since the next face's x and y lie at another angle (see `tree.BlockGrid`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.sphere.positions import chart_steps, dir_to_face_xy, face_xy_to_dir

DEPTH = 32
"""Nodes that the border is wide, or as many as an image has if these are fewer."""


def border_depth(grid: Grid) -> int:
    """Width of the border of a grid's images, in nodes."""
    return min(DEPTH, *grid.shape[1:])


def border_index(grid: Grid) -> Int32[np.ndarray, "images rows columns"]:
    """Node of each place in the images with their border; of a patch the border repeats its edge."""
    images, rows, columns = grid.shape
    depth = border_depth(grid)
    if isinstance(grid, ErpGrid):
        return grid.halo(depth).astype(np.int32)
    face, y, x = np.indices((images, rows + 2 * depth, columns + 2 * depth))
    y, x = y - depth, x - depth
    if isinstance(grid, HealpixGrid):
        for _ in range(3):
            face, x, y = _straight_on(face, x, y, grid.nside)
    index = (face * rows + np.clip(y, 0, rows - 1)) * columns + np.clip(x, 0, columns - 1)
    return index.astype(np.int32)


def _straight_on(face: np.ndarray, x: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From the face across the edge that a point lies beyond (x first); points inside stay as they are."""
    band, column = face // 4, face % 4
    left, right = (column + 3) % 4, (column + 1) % 4
    ne, sw = x >= n, x < 0
    nw, se = (y >= n) & ~ne & ~sw, (y < 0) & ~ne & ~sw
    north, middle, south = band == 0, band == 1, band == 2
    up, down, along = x - n + 1, -x, 2 * x - 2 * n + 1
    up_y, down_y, along_y = y - n + 1, -y, 2 * y - 2 * n + 1
    rules = [
        (north & ne, right, y + along, n - up),
        (north & nw, left, n - up_y, x + along_y),
        (north & sw, 4 + column, x + n, y),
        (north & se, 4 + right, x, y + n),
        (middle & ne, column, x - n, y),
        (middle & nw, left, x, y - n),
        (middle & sw, 8 + left, x + n, y),
        (middle & se, 8 + column, x, y + n),
        (south & ne, 4 + right, x - n, y),
        (south & nw, 4 + column, x, y - n),
        (south & sw, 8 + left, y - 2 * down + 1, down - 1),
        (south & se, 8 + right, down_y - 1, x - 2 * down_y + 1),
    ]
    where = [rule[0] for rule in rules]
    face, x, y = (
        np.select(where, [rule[part] for rule in rules], default=old) for part, old in ((1, face), (2, x), (3, y))
    )
    return face, x, y


BEND = 20
"""Numbers that `bend` tells of each block."""


def bend(grid: Grid) -> Float32[np.ndarray, "images rows columns 20"]:
    """How far a geodesic strays from a straight line in its image, for the blocks of 4 nodes.

    A vector of a steps in x and b in y leads by (a + c0 a² + c1 a b + c2 b², b + c3 a² + c4 a b + c5 b²) nodes. Not so
    across the parallels where the polar caps begin: there the faces have a crease, and the way is found on the sphere.

    Returns:
        Of each block: c0 … c5, by differences of eight nodes, next to the edges of a face those of the nearest block
        within; nodes beyond the crease in x + y (1e9 where its face has none); its middle, a unit vector; the steps in
        x and in y there, radians; face; nside; first node of the image in x and in y.
    """
    images, rows, columns = grid.shape
    shape = images, rows // 4, columns // 4
    result = np.zeros((*shape, BEND))
    result[..., 6] = 1e9
    if not isinstance(grid, HealpixGrid | PatchGrid):
        return result.astype(np.float32)
    nside = grid.nside
    faces, ys, xs = np.indices(shape)
    first_face, x0, y0 = (0, 0, 0) if isinstance(grid, HealpixGrid) else (grid.face, grid.x0, grid.y0)
    face, x, y = faces + first_face, 4.0 * xs + x0 + 1.5, 4.0 * ys + y0 + 1.5
    reach = min(8.0, nside / 8)
    within_x, within_y = (np.clip(each, reach + 2, nside - 3 - reach) for each in (x, y))
    result[..., :6] = _curvature(face, within_x, within_y, nside, reach)
    result[..., 6] = np.where((face < 4) | (face >= 8), x + y + 1 - nside, 1e9)
    result[..., 7:10] = face_xy_to_dir(face, x, y, nside)
    result[..., 10:16] = chart_steps(face, x, y, nside).reshape(*shape, 6)
    result[..., 16], result[..., 17] = face, nside
    result[..., 18], result[..., 19] = x0, y0
    return result.astype(np.float32)


def _curvature(face: np.ndarray, x: np.ndarray, y: np.ndarray, nside: int, reach: float) -> np.ndarray:
    center, steps = face_xy_to_dir(face, x, y, nside), chart_steps(face, x, y, nside)

    def away(a: float, b: float) -> np.ndarray:
        v = a * steps[..., 0, :] + b * steps[..., 1, :]
        angle = np.linalg.norm(v, axis=-1, keepdims=True)
        found, fx, fy = dir_to_face_xy(np.cos(angle) * center + np.sinc(angle / np.pi) * v, nside)
        offset = np.stack([fx - x, fy - y], -1)
        return np.where((found == face)[..., None], offset, [a, b])

    k = reach
    xx = (away(k, 0) + away(-k, 0)) / (2 * k * k)
    yy = (away(0, k) + away(0, -k)) / (2 * k * k)
    xy = (away(k, k) + away(-k, -k)) / (2 * k * k) - xx - yy
    return np.stack([xx[..., 0], xy[..., 0], yy[..., 0], xx[..., 1], xy[..., 1], yy[..., 1]], -1)
