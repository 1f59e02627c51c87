"""Fixtures that the tests of motion share."""

from __future__ import annotations

import pytest
from support import on_threads, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.motion.contexts import MotionTables
from deepsphere_codec.motion.tree import BlockGrid
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

GRIDS: dict[str, Grid] = {
    "sphere 64": HealpixGrid.cached(64),
    "sphere 128": HealpixGrid.cached(128),
    "erp": ErpGrid(128, 256),
    "patch": PatchGrid(256, 2, 64, 128, 128),
    "erp patch": ErpPatch(256, 512, 64, 128, 64, 128),
}
_BLOCKS = {name: BlockGrid(grid) for name, grid in GRIDS.items()}


@pytest.fixture(scope="session")
def tables() -> MotionTables:
    """The package's tables."""
    found = MotionTables()
    found.build_tables()
    return found


@pytest.fixture(params=GRIDS, scope="session")
def blocks(request: pytest.FixtureRequest) -> BlockGrid:
    """Each grid in turn."""
    return _BLOCKS[request.param]


@pytest.fixture(scope="session")
def sphere() -> BlockGrid:
    """Blocks of the sphere at nside 64."""
    return _BLOCKS["sphere 64"]


@pytest.fixture(scope="session")
def plane() -> BlockGrid:
    """Blocks of an ERP picture."""
    return _BLOCKS["erp"]
