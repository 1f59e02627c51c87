"""The blocks of a tree: their neighbours, and what a vector becomes beyond an edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import true_field, turn
from trees import ONE, TWO, random_tree

from deepsphere_codec.layers.fields import dual_steps
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    B0,
    B1,
    LAST,
    STEP,
    VECTOR_LIMIT,
    WIDTHS,
    BlockGrid,
    children,
    still_tree,
    turned,
)
from deepsphere_codec.sphere import HealpixGrid, face_xy_to_dir
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.sphere.positions import chart_steps

WEST, EAST, SOUTH, NORTH = range(4)
BACK = EAST, WEST, NORTH, SOUTH


def vectors(count: int, reach: int = 200) -> np.ndarray:
    """Fields with vectors of chance."""
    fields = np.zeros((count, 6), np.int16)
    fields[:, A0:] = np.random.default_rng(5).integers(-reach, reach + 1, (count, 4))
    return fields


# Vectors across the edge of a face


def test_turns_around_a_pole_undo_one_another():
    fields = vectors(500)
    for there, back in ((1, 2), (2, 1), (3, 3)):
        assert np.array_equal(turned(turned(fields, there), back), fields)


def test_east_stays_east_around_a_pole():
    """A step east is (1, -1) in every face, and a + b is how far north a vector leads."""
    east = np.zeros((1, 6), np.int16)
    east[:, A0:] = 7, -7, -30, 30
    fields = vectors(500)
    for kind in (1, 2):
        assert np.array_equal(turned(east, kind), east)
        found = turned(fields, kind)
        for a, b in ((A0, B0), (A1, B1)):
            assert np.array_equal(found[:, a] + found[:, b], fields[:, a] + fields[:, b])


def test_turning_keeps_mode_and_blur_and_the_limit():
    fields = vectors(20, VECTOR_LIMIT)
    fields[:, :2] = 2, 1
    for kind in (1, 2, 3):
        found = turned(fields, kind)
        assert (found[:, :2] == fields[:, :2]).all() and np.abs(found[:, A0:]).max() <= VECTOR_LIMIT


def edges() -> list[tuple[int, int]]:
    """Face and side of all edges."""
    return [(face, side) for face in range(12) for side in range(4)]


@pytest.mark.parametrize("face, side", edges())
def test_a_vector_keeps_its_meaning_across_an_edge(face, side):
    """At points of the common edge, each face's steps taken next to the edge."""
    nside, level = 1024, 0
    blocks = BlockGrid(HealpixGrid.cached(64 * 16))
    rows = blocks.shape(level)[1]
    along = np.arange(rows)
    y, x = {WEST: (along, 0 * along), EAST: (along, 0 * along + rows - 1), SOUTH: (0 * along, along)}.get(
        side, (0 * along + rows - 1, along)
    )
    number = np.arange(12 * rows * rows).reshape(12, rows, rows)
    other = blocks.flags_around(number, level)[face, y, x, side]
    other_face, other_y, other_x = np.unravel_index(other, number.shape)
    other_side = [
        each
        for each in range(4)
        if np.array_equal(blocks.flags_around(number, level)[other_face, other_y, other_x, each], number[face, y, x])
    ]
    assert len(other_side) == 1, "of neighbours, each is the other's"
    here = edge_steps(face, y, x, side, nside)
    there = edge_steps(other_face, other_y, other_x, other_side[0], nside)
    assert np.abs(here[0] - there[0]).max() < 1e-9, "the same point"

    leaves = np.zeros((*blocks.shape(level), 6), np.int16)
    leaves.reshape(-1, 6)[:] = vectors(leaves[..., 0].size)
    own = blocks.around(leaves, level)[face, y, x, side]
    for a, b in ((A0, B0), (A1, B1)):
        mine = own[:, a, None] * here[1][:, 0] + own[:, b, None] * here[1][:, 1]
        its = leaves[other_face, other_y, other_x]
        theirs = its[:, a, None] * there[1][:, 0] + its[:, b, None] * there[1][:, 1]
        length = np.linalg.norm(theirs, axis=-1).clip(1e-6)
        error = np.linalg.norm(mine - theirs, axis=-1) / length
        assert np.median(error) < 0.01 and np.quantile(error, 0.8) < 0.05


def edge_steps(face, y, x, side, nside):  # type: ignore[no-untyped-def]
    """Point in the middle of a block's edge, and the steps there by differences towards the face's inside."""
    middle = WIDTHS[0] * y + WIDTHS[0] / 2 - 0.5, WIDTHS[0] * x + WIDTHS[0] / 2 - 0.5
    edge = {WEST: -0.5, EAST: nside - 0.5, SOUTH: -0.5, NORTH: nside - 0.5}[side]
    at_y, at_x = (middle[0], edge + 0 * x) if side in (WEST, EAST) else (edge + 0 * y, middle[1])
    h = 1e-3
    inward_x, inward_y = {WEST: (h, 0), EAST: (-h, 0), SOUTH: (0, h), NORTH: (0, -h)}[side]
    return face_xy_to_dir(face, at_x, at_y, nside), chart_steps(
        face, at_x + 501 * inward_x, at_y + 501 * inward_y, nside
    )


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)], ids=str)
def test_a_turn_of_the_sphere_is_smooth_over_all_edges(axis):
    """In quarter nodes: what is across an edge differs as neighbours inside a face do, but close to the poles.

    There the faces' own frames turn from block to block.
    """
    grid = HealpixGrid.cached(128)
    blocks, nside = BlockGrid(grid), 128
    steps = dual_steps(torch.from_numpy(grid.steps))
    exact = (true_field(turn(axis, 4.0), nside)[:, None] * steps).sum(-1) / STEP
    exact = exact.reshape(12, nside // 4, 4, nside // 4, 4, 2).mean((2, 4))
    leaves = np.zeros((*blocks.shape(LAST), 6), np.int16)
    leaves[..., A0 : B0 + 1] = exact.round().numpy()
    around = blocks.around(leaves, LAST)
    jump = np.abs(around[..., A0 : B0 + 1] - leaves[..., None, A0 : B0 + 1]).max(-1)
    edge = np.zeros(jump.shape, bool)
    edge[:, :, 0, WEST] = edge[:, :, -1, EAST] = edge[:, 0, :, SOUTH] = edge[:, -1, :, NORTH] = True
    z = np.abs(grid.centers[:, 2]).reshape(12, nside // 4, 4, nside // 4, 4).mean((2, 4))
    edge &= (z < 0.9)[..., None]
    assert np.median(jump[edge]) <= 1 and np.quantile(jump[edge], 0.9) <= np.quantile(jump[~edge], 0.9) + 1


# Neighbours


def test_neighbours_are_mutual_and_beside(blocks):
    """On the whole sphere and the ERP picture; a patch's border is its own neighbour."""
    for level in range(LAST + 1):
        number = np.arange(np.prod(blocks.shape(level))).reshape(blocks.shape(level))
        around = blocks.flags_around(number, level).reshape(-1, 4)
        for side in range(4):
            itself = around[:, side] == number.reshape(-1)
            assert not itself.any() or "Patch" in type(blocks.grid).__name__
            mutual = (around[around[:, side]] == number.reshape(-1, 1)).any(1)
            assert (mutual | itself).all()


def test_inside_an_image_neighbours_are_those_of_the_image(blocks):
    level = LAST
    number = np.arange(np.prod(blocks.shape(level))).reshape(blocks.shape(level))
    around = blocks.flags_around(number, level)
    assert np.array_equal(around[:, :, 1:, WEST], number[:, :, :-1])
    assert np.array_equal(around[:, :, :-1, EAST], number[:, :, 1:])
    assert np.array_equal(around[:, 1:, :, SOUTH], number[:, :-1])
    assert np.array_equal(around[:, :-1, :, NORTH], number[:, 1:])


def test_on_a_plane_it_goes_over_the_poles_and_around_the_seam(plane):
    level = LAST
    _, rows, columns = plane.shape(level)
    number = np.arange(rows * columns).reshape(1, rows, columns)
    around = plane.flags_around(number, level)[0]
    assert np.array_equal(around[:, 0, WEST], number[0, :, -1])
    over = np.roll(number[0, 0], columns // 2)
    assert np.array_equal(around[0, :, SOUTH], over)
    leaves = np.zeros((1, rows, columns, 6), np.int16)
    leaves[..., A0:] = 3, 5, -7, 9
    found = plane.around(leaves, level)
    assert found[0, 0, 0, SOUTH].tolist() == [0, 0, 3, -5, -7, -9]
    assert found[0, -1, 0, NORTH].tolist() == [0, 0, 3, -5, -7, -9]
    assert found[0, 1, 1].tolist() == 4 * [[0, 0, 3, 5, -7, 9]]


def test_sizes_that_no_tree_covers_are_refused():
    with pytest.raises(ValueError, match="expected multiples of 64"):
        BlockGrid(HealpixGrid.cached(96))
    with pytest.raises(ValueError, match="has 32 x 32 nodes"):
        BlockGrid(PatchGrid(64, 0, 0, 0, 32))


# Trees


def test_a_tree_that_stays_has_one_leaf_a_block(blocks):
    tree = still_tree(blocks)
    assert tree.leaf_count == np.prod(blocks.shape(0)) and not tree.leaves.any()
    assert not any(tree.split(level).any() for level in range(LAST))


@pytest.mark.parametrize("setting", [ONE, TWO])
def test_leaves_and_splits_are_counted_alike(blocks, setting):
    tree = random_tree(blocks, setting, 3)
    splits = sum(int((tree.split(level)).sum()) for level in range(LAST))
    assert tree.leaf_count == np.prod(blocks.shape(0)) + 3 * splits


def test_children_are_the_four_within():
    assert children(np.array([[[1, 2]]])).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]
