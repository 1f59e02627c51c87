"""What a planar codec's bytes hold, on the nodes of the sphere: to be drawn as that of a spherical codec is."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int64

from deepsphere_codec.models.bits import FrameContents
from deepsphere_codec.models.pyramid import LATENT_DEPTH
from deepsphere_codec.sphere import ErpGrid, HealpixGrid
from deepsphere_codec.sphere.erp import erp_positions


def seen_on_sphere(inside: FrameContents, grid: ErpGrid) -> FrameContents:
    """Motion and bits at the HEALPix nodes of a quarter of the picture's width, each from the nearest pixel.

    A way of (x, y) radians on the plane is x in longitude, and y to the south. Bits of a pixel are those of its solid
    angle: a node near a pole holds many pixels'.
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
    """Index of the pixel that each node falls into."""
    row, column = (np.rint(axis).astype(np.int64) for axis in erp_positions(sphere.centers, height, width))
    return row.clip(0, height - 1) * width + column % width


def _pixel_areas(sphere: HealpixGrid, grid: ErpGrid) -> Float[np.ndarray, " npix"]:
    """Solid angle of a pixel at the latitude of each node."""
    cos_lat = np.hypot(sphere.centers[:, 0], sphere.centers[:, 1])
    return cos_lat * (2 * math.pi / grid.width) * (math.pi / grid.height)


def _on_tangents(motion: Float[np.ndarray, "npix 3"], sphere: HealpixGrid) -> Float[np.ndarray, "npix 3"]:
    """(x, y, 0) on the plane as tangent vectors, Cartesian components."""
    x, y, z = sphere.centers.T
    east = np.stack([-y, x, np.zeros_like(x)], -1)  # as long as the cosine of latitude, hence of a radian's way
    north = np.cross(sphere.centers, east) / np.hypot(x, y)[:, None]
    return motion[:, :1] * east - motion[:, 1:2] * north
