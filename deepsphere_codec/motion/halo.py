"""Images with a wide border, on which the motion search runs.

The border continues a face along geodesics, to first order. Around the poles that is not the node opposite the edge but
one further along it, since the next face's x and y have other directions (see `tree.BlockGrid`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.sphere.positions import chart_steps, dir_to_face_xy, face_xy_to_dir

DEPTH = 32
"""Width of the border in nodes, or the image's size if that is smaller."""


def border_depth(grid: Grid) -> int:
    """Width of the border of a grid's images, in nodes."""
    return min(DEPTH, *grid.shape[1:])


def border_index(grid: Grid) -> Int32[np.ndarray, "images rows columns"]:
    """Node index of each position in the images with their border; a patch's border replicates its edge."""
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
    """Express points in the face across the edge they lie beyond (x first); points inside are unchanged."""
    band, column = face // 4, face % 4
    west, east = (column + 3) % 4, (column + 1) % 4
    ne, sw = x >= n, x < 0
    nw, se = (y >= n) & ~ne & ~sw, (y < 0) & ~ne & ~sw
    north, middle, south = band == 0, band == 1, band == 2
    up, down, along = x - n + 1, -x, 2 * x - 2 * n + 1
    up_y, down_y, along_y = y - n + 1, -y, 2 * y - 2 * n + 1
    rules = [
        (north & ne, east, y + along, n - up),
        (north & nw, west, n - up_y, x + along_y),
        (north & sw, 4 + column, x + n, y),
        (north & se, 4 + east, x, y + n),
        (middle & ne, column, x - n, y),
        (middle & nw, west, x, y - n),
        (middle & sw, 8 + west, x + n, y),
        (middle & se, 8 + column, x, y + n),
        (south & ne, 4 + east, x - n, y),
        (south & nw, 4 + column, x, y - n),
        (south & sw, 8 + west, y - 2 * down + 1, down - 1),
        (south & se, 8 + east, down_y - 1, x - 2 * down_y + 1),
    ]
    conditions = [rule[0] for rule in rules]
    face, x, y = (
        np.select(conditions, [rule[part] for rule in rules], default=old) for part, old in ((1, face), (2, x), (3, y))
    )
    return face, x, y


BEND = 20
"""Number of values per block in the result of `bend`."""


def bend(grid: Grid) -> Float32[np.ndarray, "images rows columns 20"]:
    """Compute the deviation of geodesics from straight lines in their image, for each block of 4 nodes.

    A vector of a steps in x and b in y leads by (a + c0 a² + c1 a b + c2 b², b + c3 a² + c4 a b + c5 b²) nodes, except
    across the parallels where the polar caps begin: there the face coordinates have a crease, and the target is
    computed on the sphere.

    Returns:
        20 values per block: c0 … c5, from differences over eight nodes (next to the edges of a face those of the
        nearest inner block); distance from the crease in x + y, nodes (1e9 in faces without a crease); the block's
        centre, a unit vector; the steps in x and in y there, radians; face; nside; first node of the image in x and y.
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
        other_face, fx, fy = dir_to_face_xy(np.cos(angle) * center + np.sinc(angle / np.pi) * v, nside)
        offset = np.stack([fx - x, fy - y], -1)
        return np.where((other_face == face)[..., None], offset, [a, b])

    k = reach
    xx = (away(k, 0) + away(-k, 0)) / (2 * k * k)
    yy = (away(0, k) + away(0, -k)) / (2 * k * k)
    xy = (away(k, k) + away(-k, -k)) / (2 * k * k) - xx - yy
    return np.stack([xx[..., 0], xy[..., 0], yy[..., 0], xx[..., 1], xy[..., 1], yy[..., 1]], -1)
