"""What lies on the sphere, seen as two globes: where their pixels look, and motion as colour."""

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

FILL = 0.98  # of a view's height, for a globe
SLOWEST = 0.01  # degrees a frame: a still clip's noise is not blown up to full colour
FASTEST_SHARE = 99  # per cent of the nodes: a few that run wild do not pale all others


def globe_directions(size: int) -> tuple[Directions, Bool[np.ndarray, "height width"]]:
    """Where the pixels of two globes side by side look: the half in front, then the half behind (orthographic).

    East is to the right, as in an ERP picture. Beyond the globes directions mean nothing.

    Returns:
        Unit vectors, [size, 2 size, 3], and which pixels lie on a globe.
    Source: Snyder, Map Projections, USGS PP 1395, 1987, section 20.
    """
    across = ((np.arange(size) + 0.5) / size * 2 - 1) / FILL
    right, up = np.meshgrid(across, -across)
    square = right**2 + up**2
    depth = np.sqrt(np.clip(1 - square, 0, None))
    front, back = np.stack([depth, right, up], -1), np.stack([-depth, -right, up], -1)
    return np.concatenate([front, back], 1), np.tile(square <= 1, 2)


def nearest_nodes(directions: Directions, nside: int) -> Int64[np.ndarray, "height width"]:
    """Index of the node whose pixel each direction falls into."""
    face, x, y = dir_to_face_xy(directions, nside)
    column, row = (np.clip(np.rint(axis), 0, nside - 1).astype(np.int64) for axis in (x, y))
    return (face * nside + row) * nside + column


def movement(motion: Float[np.ndarray, "npix 3"]) -> Float64[np.ndarray, "npix 2"]:
    """How far to the east and to the north what is at each node goes in one frame, degrees.

    A coded vector leads back to where the content was (architecture.md, decision 6); this is its opposite.
    """
    p = HealpixGrid.cached(nside_of(len(motion))).centers
    east = np.stack([-p[:, 1], p[:, 0], np.zeros(len(p))], -1)
    east /= np.linalg.norm(east, axis=-1, keepdims=True)  # no node lies at a pole
    north = np.cross(p, east)
    return np.degrees(-np.stack([(motion * east).sum(-1), (motion * north).sum(-1)], -1))


def movement_colours(moves: Float[np.ndarray, "*shape 2"], fastest: float) -> Colours:
    """Direction as hue (east red, north green, west cyan, south violet), speed as saturation: what stands is white."""
    hue = np.arctan2(moves[..., 1], moves[..., 0]) / (2 * np.pi) % 1
    speed = np.clip(np.linalg.norm(moves, axis=-1) / fastest, 0, 1)
    return hsv_to_rgb(np.stack([hue, speed, np.ones_like(hue)], -1))


def fastest_of(moves: Float[np.ndarray, "npix 2"]) -> float:
    """The speed of full colour, degrees a frame; nodes stand for equal areas."""
    return max(SLOWEST, float(np.percentile(np.linalg.norm(moves, axis=-1), FASTEST_SHARE)))


def cut(colours: Colours, inside: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 4"]:
    """See-through outside."""
    return np.concatenate([colours, inside[..., None]], -1)


def nside_of(npix: int) -> int:
    """Of a signal on all nodes."""
    return math.isqrt(npix // 12)
