"""Views of signals on the sphere as two globes, and the colour coding of motion."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.sphere import HealpixGrid, dir_to_face_xy

with optional_imports():
    from matplotlib.colors import hsv_to_rgb

Directions = Float64[np.ndarray, "height width 3"]
Colours = Float[np.ndarray, "*shape 3"]

FILL = 0.98  # diameter of a globe as a fraction of the view's height
SLOWEST = 0.01  # degrees per frame; lower bound of the speed of full colour, so that noise in a still clip stays pale
FASTEST_SHARE = 99  # percentile of the nodes' speeds that gets full colour, so that outliers do not pale all others


def globe_directions(size: int) -> tuple[Directions, Bool[np.ndarray, "height width"]]:
    """Compute the directions of the pixels of two globes side by side: the front and the back half (orthographic).

    East is to the right, as in an ERP picture. Directions outside the globes are undefined.

    Args:
        size: Height of the view in pixels.
    Returns:
        Unit vectors, [size, 2 size, 3], and a mask of the pixels on a globe, [size, 2 size].
    Source: Snyder, Map Projections, USGS PP 1395, 1987, section 20.
    """
    across = ((np.arange(size) + 0.5) / size * 2 - 1) / FILL
    right, up = np.meshgrid(across, -across)
    square = right**2 + up**2
    depth = np.sqrt(np.clip(1 - square, 0, None))
    front, back = np.stack([depth, right, up], -1), np.stack([-depth, -right, up], -1)
    return np.concatenate([front, back], 1), np.tile(square <= 1, 2)


def nearest_nodes(directions: Directions, nside: int) -> Int64[np.ndarray, "height width"]:
    """Find the node whose pixel contains each direction.

    Args:
        directions: Unit vectors, [height, width, 3].
        nside: Resolution of the grid.
    Returns:
        Face-major indices, [height, width].
    """
    face, x, y = dir_to_face_xy(directions, nside)
    column, row = (np.clip(np.rint(axis), 0, nside - 1).astype(np.int64) for axis in (x, y))
    return (face * nside + row) * nside + column


def movement(motion: Float[np.ndarray, "npix 3"]) -> Float64[np.ndarray, "npix 2"]:
    """Convert motion vectors to the movement of the content at each node, (east, north), [npix, 2], degrees per frame.

    A coded vector points back to the previous position of the content (architecture.md, decision 6); the movement is
    its opposite.
    """
    p = HealpixGrid.cached(nside_of(len(motion))).centers
    east = np.stack([-p[:, 1], p[:, 0], np.zeros(len(p))], -1)
    east /= np.linalg.norm(east, axis=-1, keepdims=True)  # no node lies at a pole
    north = np.cross(p, east)
    return np.degrees(-np.stack([(motion * east).sum(-1), (motion * north).sum(-1)], -1))


def movement_colours(moves: Float[np.ndarray, "*shape 2"], fastest: float) -> Colours:
    """Colour-code movements: direction as hue (east red, north green, west cyan, south violet), speed as saturation.

    Args:
        moves: Movements (east, north), [..., 2], degrees per frame.
        fastest: Speed of full saturation, degrees per frame; no movement is white.
    Returns:
        RGB colours in [0, 1], [..., 3].
    """
    hue = np.arctan2(moves[..., 1], moves[..., 0]) / (2 * np.pi) % 1
    speed = np.clip(np.linalg.norm(moves, axis=-1) / fastest, 0, 1)
    return hsv_to_rgb(np.stack([hue, speed, np.ones_like(hue)], -1))


def fastest_of(moves: Float[np.ndarray, "npix 2"]) -> float:
    """Compute the speed of full colour, degrees per frame: a percentile over the nodes, which have equal areas."""
    return max(SLOWEST, float(np.percentile(np.linalg.norm(moves, axis=-1), FASTEST_SHARE)))


def cut(colours: Colours, inside: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 4"]:
    """Add an alpha channel that makes pixels outside a mask transparent.

    Args:
        colours: RGB colours, [height, width, 3].
        inside: Mask of the opaque pixels, [height, width].
    Returns:
        RGBA colours, [height, width, 4].
    """
    return np.concatenate([colours, inside[..., None]], -1)


def nside_of(npix: int) -> int:
    """Compute the resolution nside of a signal on 12 nside² nodes."""
    return math.isqrt(npix // 12)
