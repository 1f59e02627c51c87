"""Grids and resolutions of a model's geometry.

Resolutions are identified by nside. The nside of an ERP picture is a quarter of its width, as it is by default on the
sphere.
"""

from __future__ import annotations

from deepsphere_codec.models.pyramid import COARSEST_DEPTH
from deepsphere_codec.sphere import ErpGrid, HealpixGrid


def whole_grid(geometry: str, nside: int) -> HealpixGrid | ErpGrid:
    """Create the grid of a whole sphere or ERP picture.

    Args:
        geometry: "healpix" or "erp".
        nside: Resolution.
    Returns:
        HEALPix grid at nside, or ERP grid of 2 nside rows and 4 nside columns.
    """
    return ErpGrid(2 * nside, 4 * nside) if geometry == "erp" else HealpixGrid.cached(nside)


def nside_multiple(geometry: str) -> int:
    """Return the number that nside must be a multiple of: 64 for "healpix", 32 for "erp".

    Nodes then have parents at all depths, and half a turn in longitude is a whole number of pixels at each depth.
    """
    return 1 << COARSEST_DEPTH >> (geometry == "erp")
