"""What a model's geometry means: the grid that it runs on at a resolution, and which resolutions there are.

A resolution is named by nside. That of an ERP picture is a quarter of its width, as the sphere's is by default.
"""

from __future__ import annotations

from deepsphere_codec.models.pyramid import COARSEST_DEPTH
from deepsphere_codec.sphere import ErpGrid, HealpixGrid


def whole_grid(geometry: str, nside: int) -> HealpixGrid | ErpGrid:
    """The sphere at nside, or the picture that is four times as wide, and half as high as that."""
    return ErpGrid(2 * nside, 4 * nside) if geometry == "erp" else HealpixGrid.cached(nside)


def nside_multiple(geometry: str) -> int:
    """What nside must be a multiple of for all parents to exist, and for half a turn to be whole pixels of each."""
    return 1 << COARSEST_DEPTH >> (geometry == "erp")
