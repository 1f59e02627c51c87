"""Places that the search takes vectors to lead to, against the exponential map, by way of a picture of coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from trees import ONE, uniform_tree

from deepsphere_codec.layers import Warp
from deepsphere_codec.layers.padding import Grid, make_padding
from deepsphere_codec.motion import kernels
from deepsphere_codec.motion.halo import DEPTH, bend, border_depth, border_index
from deepsphere_codec.motion.prediction import Motion, TreePrediction
from deepsphere_codec.motion.tree import A0, B0, LAST, STEP, BlockGrid
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid, exp_map
from deepsphere_codec.sphere.faces import padded_faces
from deepsphere_codec.sphere.patch import PatchGrid


def errors(pictures: np.ndarray, references: np.ndarray, grid: Grid, a: int, b: int) -> np.ndarray:
    """Squared error of each block of 4 nodes that moves by (a, b) quarter nodes, summed over channels, [images, y, x].

    Args:
        pictures, references: By channel, [c, npix].
    """
    shape, depth, index, curve = BlockGrid(grid).shape(LAST), border_depth(grid), border_index(grid), bend(grid)
    fields = np.zeros(6, np.int16)
    fields[A0], fields[B0] = a, b
    total, scratch = np.zeros(shape), kernels.scratch_memory()
    for picture, reference in zip(pictures.astype(np.float32), references.astype(np.float32), strict=True):
        x, refs = picture.reshape(grid.shape), np.ascontiguousarray([[reference[index]]] * 2)
        for block in np.ndindex(shape):
            total[block] += kernels.block_error(x, refs, curve, depth, *block, 1, fields, 1, kernels.FAR, scratch)
    return total


def distances(grid: HealpixGrid | PatchGrid, a: int, b: int) -> np.ndarray:
    """How far each block lands from where the exponential map leads its nodes, root mean square, in nodes."""
    p, steps = torch.from_numpy(grid.centers), torch.from_numpy(grid.steps)
    where = exp_map(p, STEP * (a * steps[:, 0] + b * steps[:, 1]))
    node = math.sqrt(4 * math.pi / 12) / grid.nside
    return np.sqrt(errors(where.numpy().T, grid.centers.T, grid, a, b) / 16) / node


@pytest.mark.parametrize("direction", [(1, 0), (1, 1), (1, -1), (-2, 1)], ids=str)
@pytest.mark.parametrize(
    "nodes, median, most, worst",
    [(0.25, 0.001, 0.002, 0.1), (1, 0.001, 0.02, 0.25), (4, 0.01, 0.15, 1), (12, 0.05, 1, 6)],
)
def test_a_vector_leads_where_the_exponential_map_does(nodes, median, most, worst, direction):
    """Medians, 90 and 99 % of all blocks of the sphere, in nodes."""
    length = math.hypot(*direction)
    a, b = (round(4 * nodes * part / length) for part in direction)
    found = distances(HealpixGrid.cached(128), a, b)
    assert np.median(found) < median and np.quantile(found, 0.9) < most and np.quantile(found, 0.99) < worst


def test_no_vector_leads_nowhere():
    """To rounding: at the crease of the polar faces the way goes by the sphere."""
    for grid in (HealpixGrid.cached(64), PatchGrid(256, 5, 64, 0, 64), ErpGrid(64, 128)):
        signal = np.random.default_rng(1).random((1, grid.npix))
        assert errors(signal, signal, grid, 0, 0).max() < 1e-8


@pytest.mark.parametrize("vector", [(4, 0), (0, -12), (-100, 60), (3, -7), (37, 101)], ids=str)
def test_on_a_plane_it_is_exact(vector):
    """Around the seam and over the poles, as far as the border reaches."""
    grid = ErpGrid(64, 128)
    blocks, x_ref = BlockGrid(grid), torch.rand(1, grid.npix, 1)
    motion = Motion.of([uniform_tree(blocks, ONE, vectors=(*vector, 0, 0))])
    x = TreePrediction(Warp(grid), make_padding(grid))([x_ref], motion, overlap=False)
    assert errors(x[..., 0].numpy(), x_ref[..., 0].numpy(), grid, *vector).max() < 1e-9
    assert errors(x[..., 0].numpy(), x_ref[..., 0].numpy(), grid, -vector[0], -vector[1]).min() > 0.1


@pytest.mark.parametrize("place", [(2, 0, 64), (5, 0, 0), (11, 64, 64)], ids=str)
def test_inside_a_patch_it_is_that_of_the_sphere(place):
    """Next to its border nothing is known."""
    face, x0, y0 = place
    sphere, patch = HealpixGrid.cached(128), PatchGrid(128, face, x0, y0, 64)
    whole, part = bend(sphere), bend(patch)
    own = whole[face, y0 // 4 : y0 // 4 + 16, x0 // 4 : x0 // 4 + 16]
    assert np.array_equal(part[0][..., :18], own[..., :18]), "the curve, and where its middle lies"
    assert (part[..., 18] == x0).all() and (part[..., 19] == y0).all()
    signal = np.random.default_rng(2).random((1, sphere.npix))
    moved = np.roll(signal, 1)
    errors_there = errors(moved, signal, sphere, 5, -3)[face, y0 // 4 : y0 // 4 + 16, x0 // 4 : x0 // 4 + 16]
    errors_here = errors(moved[:, patch.nodes], signal[:, patch.nodes], patch, 5, -3)[0]
    np.testing.assert_allclose(errors_here[2:-2, 2:-2], errors_there[2:-2, 2:-2], rtol=1e-3)


def test_the_border_is_the_faces_across_the_edges():
    """Next to the edges of the belt it is what convolutions see; around the poles it lies as far north as they do."""
    nside = 64
    index, halo = border_index(HealpixGrid.cached(nside)), padded_faces(nside, 1)
    assert index.shape == (12, nside + 2 * DEPTH, nside + 2 * DEPTH) and index.min() >= 0
    inside = slice(DEPTH, -DEPTH)
    assert np.array_equal(index[:, inside, inside].reshape(-1), np.arange(12 * nside**2))
    near = index[:, DEPTH - 1 : 1 - DEPTH, DEPTH - 1 : 1 - DEPTH]
    for edge in ((slice(1, -1), 0), (slice(1, -1), -1), (0, slice(1, -1)), (-1, slice(1, -1))):
        assert np.array_equal(near[4:8, *edge], halo[4:8, *edge])
        faces, expected = near[:, *edge] // nside**2, halo[:, *edge] // nside**2
        assert np.array_equal(faces[:, 1:-2], expected[:, 1:-2])


@pytest.mark.parametrize("grid", [ErpGrid(64, 128), ErpPatch(256, 512, 64, 128, 64, 128)], ids=str)
def test_a_plane_does_not_bend(grid):
    assert not bend(grid)[..., :6].any() and (bend(grid)[..., 6] == 1e9).all()


def test_small_images_have_a_border_as_wide_as_they_are():
    assert border_depth(HealpixGrid.cached(8)) == 8 and border_index(HealpixGrid.cached(8)).shape == (12, 24, 24)
    assert border_index(ErpGrid(8, 16)).shape == (1, 24, 32)
