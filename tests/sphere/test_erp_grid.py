"""The picture as a grid: its borders, its patches, its parents, and that it is no sphere but for these."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid, erp_directions
from deepsphere_codec.sphere.erp import erp_positions
from deepsphere_codec.sphere.patch import PatchGrid

PATCH = ErpPatch(256, 512, 64, 128, 64, 192)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_beyond_a_border_lies_what_the_sphere_shows_there(depth):
    """By directions: go on in latitude past the pole, and see which pixel that is."""
    height, width = 6, 12
    padded = ErpGrid(height, width).halo(depth)[0]
    row, column = np.mgrid[-depth : height + depth, -depth : width + depth]
    lat = math.pi / 2 - (row + 0.5) / height * math.pi
    lon = (column + 0.5) / width * 2 * math.pi - math.pi
    there = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    i, j = (np.rint(axis).astype(int) for axis in erp_positions(there, height, width))
    assert np.array_equal(padded, i * width + j % width)


def test_a_halo_deeper_than_the_picture_is_refused():
    with pytest.raises(ValueError, match=r"1\.\.4"):
        ErpGrid(4, 8).halo(5)
    with pytest.raises(ValueError, match="halo depth 0"):
        ErpGrid(4, 8).halo(0)


@pytest.mark.parametrize("grid", [ErpGrid(256, 512), PATCH], ids=["picture", "patch"])
def test_parents_are_blocks_of_two_by_two(grid):
    parent = grid.parent()
    assert (grid.shape[1], grid.shape[2]) == (2 * parent.shape[1], 2 * parent.shape[2])
    assert np.allclose(parent.steps[0], 2 * grid.steps[0]), "in radians"
    pairs = grid.cos_lat.reshape(-1, 2).mean(1)
    assert np.allclose(parent.cos_lat * math.cos(math.pi / 2 / 256), pairs), "cosines of the rows' middles"


def test_the_nodes_of_a_patch_are_those_of_the_picture():
    rows, columns = PATCH.nodes.reshape(64, 192) // 512, PATCH.nodes.reshape(64, 192) % 512
    assert np.array_equal(rows[:, 0], np.arange(64, 128)) and np.array_equal(columns[0], np.arange(128, 320))
    assert np.array_equal(PATCH.cos_lat, ErpGrid(256, 512).cos_lat[64:128])
    inner = PATCH.inner(16)
    assert np.array_equal(inner.nodes.reshape(32, 160), PATCH.nodes.reshape(64, 192)[16:-16, 16:-16])


def test_a_step_is_a_pixel_at_the_equator():
    grid = ErpGrid(64, 128)
    directions = erp_directions(64, 128)
    across = np.arccos(directions[31, 0] @ directions[31, 1]) / math.cos(math.pi / 128)
    down = np.arccos(np.clip(directions[31, 0] @ directions[32, 0], -1, 1))
    assert np.linalg.norm(grid.steps[5], axis=-1) == pytest.approx([across, down], rel=1e-3)
    assert grid.npix == 64 * 128 and ErpGrid(64, 128).side == 128


@pytest.mark.parametrize(
    "make, rule",
    [
        (lambda: ErpGrid(0, 8), "at least one row"),
        (lambda: ErpGrid(4, 7), "even width"),
        (lambda: ErpGrid(3, 8).parent(), "height must be even"),
        (lambda: ErpGrid(4, 6).parent(), "multiple of 4"),
        (lambda: ErpPatch(64, 128, 32, 0, 64, 64), "leaves its picture"),
        (lambda: ErpPatch(64, 128, 0, 96, 64, 64), "leaves its picture"),
        (lambda: ErpPatch(64, 128, 0, 0, 0, 64), "empty"),
        (lambda: ErpPatch(64, 128, 1, 0, 2, 2).parent(), "must be even"),
    ],
)
def test_what_cannot_be_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


def test_grids_of_the_sphere_say_the_same_of_themselves():
    sphere, patch = HealpixGrid.cached(8), PatchGrid(64, 3, 16, 32, 16)
    assert sphere.shape == (12, 8, 8) and patch.shape == (1, 16, 16)
    assert sphere.parent() == HealpixGrid(4) and patch.inner(2) == PatchGrid(64, 3, 18, 34, 12)
    whole = HealpixGrid.cached(64)
    assert np.array_equal(patch.steps, whole.steps[patch.nodes]) and np.array_equal(
        patch.centers, whole.centers[patch.nodes]
    )
