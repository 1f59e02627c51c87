"""Conversion of a planar codec's frame contents to the nodes of the sphere, so that both kinds are drawn alike."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int64

from deepsphere_codec.models.bits import FrameContents
from deepsphere_codec.models.pyramid import LATENT_DEPTH
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.erp import erp_positions


def seen_on_sphere(inside: FrameContents, grid: ErpGrid) -> FrameContents:
    """Resample motion and bits to HEALPix nodes, nside a quarter of the picture's width, from the nearest pixel.

    A displacement (x, y) on the plane, in radians, is x in longitude and y to the south. The bits of a node are those
    of its nearest pixel times the number of pixels in its solid angle, which is large near a pole.

    Args:
        inside: Contents of a frame of the planar codec.
        grid: Grid of its pictures.
    Returns:
        Contents at the nodes of the sphere.
    """
    sphere = HealpixGrid.cached(grid.width // 4)
    coarse = HealpixGrid.cached(sphere.nside >> LATENT_DEPTH)
    nearest = _nearest(coarse, grid.height >> LATENT_DEPTH, grid.width >> LATENT_DEPTH)
    pixels = (4 * math.pi / sphere.npix) / _pixel_areas(coarse, grid)
    return FrameContents(
        _on_tangents(inside.motion[_nearest(sphere, grid.height, grid.width)], sphere),
        inside.bits_per_node[nearest] * pixels,
    )


def _nearest(sphere: HealpixGrid, height: int, width: int) -> Int64[np.ndarray, " npix"]:
    """Index of the pixel that contains each node's centre."""
    row, column = (np.rint(axis).astype(np.int64) for axis in erp_positions(sphere.centers, height, width))
    return row.clip(0, height - 1) * width + column % width


def _pixel_areas(sphere: HealpixGrid, grid: ErpGrid) -> Float[np.ndarray, " npix"]:
    """Solid angle of a pixel at the latitude of each node."""
    cos_lat = np.hypot(sphere.centers[:, 0], sphere.centers[:, 1])
    return cos_lat * (2 * math.pi / grid.width) * (math.pi / grid.height)


def _on_tangents(motion: Float[np.ndarray, "npix 3"], sphere: HealpixGrid) -> Float[np.ndarray, "npix 3"]:
    """Convert displacements (x, y, 0) on the plane to tangent vectors in Cartesian components."""
    x, y, z = sphere.centers.T
    east = np.stack([-y, x, np.zeros_like(x)], -1)  # length cos(latitude): the displacement per radian of longitude
    north = np.cross(sphere.centers, east) / np.hypot(x, y)[:, None]
    return motion[:, :1] * east - motion[:, 1:2] * north
