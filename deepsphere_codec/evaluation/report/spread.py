"""Positions and areas of a signal's nodes on the sphere, for each order of nodes."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64

from deepsphere_codec.figures.globes import Directions, nearest_nodes, nside_of
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.erp import erp_area_weights, erp_positions

PIXEL_ORDER = "face-major"  # value in a stream's header for HEALPix; otherwise rows of a 2:1 ERP picture


def nodes_at(directions: Directions, count: int, order: str) -> Int64[np.ndarray, "height width"]:
    """Find the node that contains each direction.

    Args:
        directions: Unit vectors, [height, width, 3].
        count: Number of nodes on the sphere.
        order: Order of the nodes, see `StreamContents`.
    Returns:
        Indices of nodes, [height, width].
    """
    if order == PIXEL_ORDER:
        return nearest_nodes(directions, nside_of(count))
    height = _rows(count)
    row, column = (np.rint(each).astype(np.int64) for each in erp_positions(directions, height, 2 * height))
    return np.clip(row, 0, height - 1) * (2 * height) + column % (2 * height)


def areas(count: int, order: str) -> Float64[np.ndarray, " count"]:
    """Compute the areas of nodes relative to their mean.

    Args:
        count: Number of nodes on the sphere.
        order: Order of the nodes, see `StreamContents`.
    Returns:
        Relative areas, [count].
    """
    if order == PIXEL_ORDER:
        return np.ones(count)
    height = _rows(count)
    weights = np.repeat(erp_area_weights(height), 2 * height)
    return weights / weights.mean()


def latitudes(count: int, order: str) -> Float64[np.ndarray, " count"]:
    """Compute the latitudes of the nodes' centres.

    Args:
        count: Number of nodes on the sphere.
        order: Order of the nodes, see `StreamContents`.
    Returns:
        Latitudes in degrees, [count].
    """
    if order == PIXEL_ORDER:
        return np.degrees(np.arcsin(HealpixGrid.cached(nside_of(count)).centers[:, 2]))
    height = _rows(count)
    return np.repeat(90 - (np.arange(height) + 0.5) * 180 / height, 2 * height)


def _rows(count: int) -> int:
    return math.isqrt(count // 2)
