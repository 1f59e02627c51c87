"""Prediction by a tree: the sign, the modes, the blur, and the same numbers wherever it is reckoned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import texture
from trees import BETWEEN, ONE, random_tree, uniform_tree

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.layers import Warp
from deepsphere_codec.layers.padding import make_padding
from deepsphere_codec.motion.prediction import BLUR_PASSES, OVERLAP, Motion, TreePrediction, binomial, blur_levels
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    BLUR,
    BLURS,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    STEP,
    BlockGrid,
    still_tree,
)
from deepsphere_codec.sphere import ErpGrid, HealpixGrid, exp_map
from deepsphere_codec.sphere.patch import PatchGrid


def prediction_on(blocks: BlockGrid) -> TreePrediction:
    return TreePrediction(Warp(blocks.grid), make_padding(blocks.grid))


@pytest.fixture
def predict(sphere: BlockGrid) -> TreePrediction:
    return prediction_on(sphere)


@pytest.fixture(params=[HealpixGrid.cached(64), ErpGrid(64, 128), PatchGrid(256, 1, 0, 64, 64)], ids=str)
def small(request: pytest.FixtureRequest) -> BlockGrid:
    """Grids of each kind that are quick."""
    return BlockGrid(request.param)


# Signs


@pytest.mark.parametrize("vector", [(6, 0), (0, 6), (-4, 9), (2, 2)], ids=str)
def test_it_looks_where_the_exponential_map_leads(sphere, predict, vector):
    """x(p) = x_ref(exp_p(v(p))), v = STEP (a s_x + b s_y): pins the sign, and the unit of the vectors."""
    p, steps = torch.from_numpy(sphere.grid.centers), torch.from_numpy(sphere.grid.steps)
    v = STEP * (vector[0] * steps[:, 0] + vector[1] * steps[:, 1])
    expected = texture(exp_map(p, v), 3.0)
    motion = Motion.of([uniform_tree(sphere, ONE, vectors=(*vector, 0, 0))])
    found = predict([texture(p, 3.0)], motion, overlap=False)
    error = (found - expected).abs()
    assert error.mean() < 1e-4 and error.quantile(0.99) < 2e-3
    opposite = predict(
        [texture(p, 3.0)], Motion.of([uniform_tree(sphere, ONE, vectors=(-vector[0], -vector[1], 0, 0))])
    )
    assert (opposite - expected).abs().mean() > 0.005


def test_four_units_are_one_node(plane):
    grid = plane.grid
    x = torch.arange(grid.npix, dtype=torch.float32).view(1, -1, 1) / grid.npix
    motion = Motion.of([uniform_tree(plane, ONE, vectors=(8, -12, 0, 0))])
    found = prediction_on(plane)([x], motion, overlap=False)
    rows, columns = grid.shape[1:]
    picture = x.view(rows, columns)
    assert (found.view(rows, columns)[3:] - picture.roll(-2, 1)[:-3]).abs().max() < 1e-6, "two right, three up"


@pytest.mark.parametrize("split", [False, True])
def test_a_tree_of_zeros_is_the_reference_bit_for_bit(blocks, split):
    x_ref = torch.rand(1, blocks.grid.npix, 3)
    tree = still_tree(blocks)
    if split:
        tree.level[:] = LAST
    found = prediction_on(blocks)([x_ref], Motion.of([tree]))
    assert torch.equal(found, x_ref)


def test_each_leaf_moves_by_itself(sphere, predict):
    """Four blocks of one tree, next to a tree that moves everywhere alike."""
    x_ref = torch.rand(1, sphere.grid.npix, 3)
    tree = still_tree(sphere)
    tree.leaves[5, 3, 4, A0], tree.level[:] = 9, LAST
    still, moved, own = (
        predict([x_ref], Motion.of([each]), overlap=False).view(12, 64, 64, 3)
        for each in (still_tree(sphere), uniform_tree(sphere, ONE, vectors=(9, 0, 0, 0)), tree)
    )
    assert torch.equal(own[5, 12:16, 16:20], moved[5, 12:16, 16:20])
    own[5, 12:16, 16:20] = still[5, 12:16, 16:20]
    assert torch.equal(own, still)


# Modes


def test_modes_are_first_second_and_mean(sphere, predict):
    references = [torch.rand(1, sphere.grid.npix, 3) for _ in range(2)]
    vectors = (5, -2, -3, 8)
    alone = [
        predict(
            [each], Motion.of([uniform_tree(sphere, ONE, vectors=(*vectors[2 * i : 2 * i + 2], 0, 0))]), overlap=False
        )
        for i, each in enumerate(references)
    ]
    found = [
        predict(references, Motion.of([uniform_tree(sphere, BETWEEN, mode=m, vectors=vectors)]), overlap=False)
        for m in range(3)
    ]
    assert torch.equal(found[FIRST], alone[0]) and torch.equal(found[SECOND], alone[1])
    assert torch.equal(found[MEAN], (alone[0] + alone[1]) / 2)


def test_modes_may_differ_from_leaf_to_leaf(small):
    references = [torch.rand(1, small.grid.npix, 3) for _ in range(2)]
    tree, predict = random_tree(small, BETWEEN, 3, splits=0.9, reach=6), prediction_on(small)
    found = predict(references, Motion.of([tree]), overlap=False)
    mode = predict._at_nodes(torch.from_numpy(tree.leaves[..., MODE].reshape(1, -1, 1)).long())
    for each in range(3):
        same = tree.leaves.copy()
        same[..., MODE] = each
        expected = predict(references, Motion.of([tree._replace(leaves=same)]), overlap=False)
        some = (mode == each).expand_as(found)
        assert some.any() and torch.equal(found[some], expected[some])


def test_a_vector_that_does_not_count_changes_nothing(sphere, predict):
    """However far it leads: that of the other reference is scaled by time, out of all bounds if need be."""
    references = [torch.rand(1, sphere.grid.npix, 3) for _ in range(2)]
    tree = random_tree(sphere, BETWEEN, 5, splits=0.3, reach=6)
    far = tree.leaves.copy()
    far[..., A0 : A0 + 2][far[..., MODE] == SECOND] = 1000
    far[..., A1 : A1 + 2][far[..., MODE] == FIRST] = -1000
    one, other = (predict(references, Motion.of([each])) for each in (tree, tree._replace(leaves=far)))
    assert torch.equal(one, other)


def test_a_batch_is_its_parts(sphere, predict):
    references = [torch.rand(2, sphere.grid.npix, 3) for _ in range(2)]
    trees = [random_tree(sphere, BETWEEN, seed, splits=0.3, reach=6) for seed in (1, 2)]
    both = predict(references, Motion.of(trees))
    for i, tree in enumerate(trees):
        alone = predict([each[i : i + 1] for each in references], Motion.of([tree]))
        assert torch.equal(both[i], alone[0])


def test_the_cameras_turn_is_added(sphere, predict):
    """A turn's vectors and a tree's make one way; of no tree it is the warp by the turn."""
    x_ref = torch.rand(1, sphere.grid.npix, 3)
    turn = 0.01 * torch.from_numpy(sphere.grid.steps[:, 0]).float() * sphere.grid.nside
    found = predict([x_ref], Motion.of([still_tree(sphere)]), [turn])
    assert torch.equal(found, predict.warp(x_ref, turn[None]))


# Overlap


def test_next_to_other_leaves_it_is_a_mean_with_theirs(small):
    """Each node's block, and those next to it in x and in y on the node's side, across faces too: by brute force."""
    references = [torch.rand(1, small.grid.npix, 3) for _ in range(2)]
    tree, predict = random_tree(small, BETWEEN, 3, splits=0.9, reach=8), prediction_on(small)
    found = predict(references, Motion.of([tree]))
    own = predict(references, Motion.of([tree]), overlap=False)
    around = small.around(tree.leaves, LAST)
    trees = [tree._replace(leaves=around[..., side, :]) for side in range(4)]
    sides = [predict(references, Motion.of([each]), overlap=False) for each in trees]
    images, rows, columns = small.grid.shape
    _, y, x = (torch.from_numpy(axis.reshape(1, -1, 1)) % 4 for axis in np.indices((images, rows, columns)))
    expected = own.clone()
    for place, before, after in ((x, *sides[:2]), (y, *sides[2:])):
        weight = torch.where((place == 0) | (place == 3), *OVERLAP)
        expected += weight * (torch.where(place < 2, before, after) - own)
    assert torch.allclose(found, expected, atol=1e-6) and not torch.allclose(found, own, atol=1e-2)


def test_leaves_that_are_alike_make_no_difference(sphere, predict):
    """A split into four equal leaves, and vectors that do not count."""
    references = [torch.rand(1, sphere.grid.npix, 3) for _ in range(2)]
    tree = random_tree(sphere, BETWEEN, 5, splits=0.3, reach=6)
    deeper = tree._replace(level=np.full_like(tree.level, LAST))
    assert torch.equal(predict(references, Motion.of([tree])), predict(references, Motion.of([deeper])))


def test_where_two_leaves_meet_the_picture_has_no_step(plane):
    """A slope that two leaves look up one node apart: half of the step is left between them, then it fades."""
    grid = plane.grid
    _, _, x = np.indices(grid.shape)
    slope = torch.from_numpy(x.reshape(1, -1, 1)).float()
    tree = still_tree(plane)
    tree.leaves[:, :, 8:, A0], tree.level[:] = 4, LAST
    row = prediction_on(plane)([slope], Motion.of([tree]))[0, :, 0].view(grid.shape)[0, 20, 24:40]
    steps = (row - slope.view(grid.shape)[0, 20, 24:40]).tolist()
    outer, inner = OVERLAP
    assert steps == pytest.approx([0] * 6 + [inner, outer, 1 - outer, 1 - inner] + [1] * 6, abs=1e-4)


# Blur


@pytest.mark.parametrize("grid", [HealpixGrid.cached(64), ErpGrid(64, 128), PatchGrid(256, 1, 0, 64, 64)], ids=str)
def test_blur_keeps_constants_and_means_and_smooths(grid):
    padding = make_padding(grid)
    constant = torch.full((2, grid.npix, 3), 0.7)
    noise = torch.rand(1, grid.npix, 3)
    levels = blur_levels(noise, padding)
    assert len(levels) == BLURS == len(BLUR_PASSES) and torch.equal(levels[0], noise)
    for before, after in zip(levels, levels[1:], strict=False):
        assert after.std() < 0.75 * before.std()
        assert (after.mean(1) - noise.mean(1)).abs().max() < 1e-3
    if not isinstance(grid, HealpixGrid):  # where three faces meet a node has other neighbours than its neighbours have
        assert (binomial(noise, padding).mean() - noise.mean()).abs() < (1e-6 if isinstance(grid, ErpGrid) else 1e-3)
    for level in blur_levels(constant, padding):
        assert (level - 0.7).abs().max() < 1e-6


def test_blur_is_a_binomial_filter(plane):
    impulse = torch.zeros(1, *plane.grid.shape[1:], 1)
    impulse[0, 40, 100] = 16
    found = binomial(impulse.view(1, -1, 1), make_padding(plane.grid)).view(plane.grid.shape[1:])
    assert found[39:42, 99:102].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]] and found.sum() == 16


@pytest.mark.parametrize("blur", range(BLURS))
def test_a_leaf_is_predicted_from_its_blur_level(sphere, predict, blur):
    x_ref = torch.rand(1, sphere.grid.npix, 3)
    found = predict([x_ref], Motion.of([uniform_tree(sphere, ONE, blur=blur)]))
    assert torch.equal(found, blur_levels(x_ref, predict.padding)[blur])


def test_leaves_of_all_blur_levels_stand_beside_one_another(sphere, predict):
    x_ref = torch.rand(1, sphere.grid.npix, 3)
    tree = random_tree(sphere, ONE, 8, splits=0.3, reach=6)
    found = predict([x_ref], Motion.of([tree]), overlap=False)
    blur = predict._at_nodes(torch.from_numpy(tree.leaves[..., BLUR].reshape(1, -1, 1)).long())
    sharp = tree.leaves.copy()
    sharp[..., BLUR] = 0
    for level, picture in enumerate(blur_levels(x_ref, predict.padding)):
        expected = predict([picture], Motion.of([tree._replace(leaves=sharp)]), overlap=False)
        some = (blur == level).expand_as(found)
        assert some.any() and torch.equal(found[some], expected[some])


# The same numbers everywhere


def test_threads_and_learning_change_no_bit(small, on_threads):
    """The encoder predicts with a graph or without one, the decoder on any number of threads."""
    references = [torch.rand(1, small.grid.npix, 3) for _ in range(2)]
    motion, predict = Motion.of([random_tree(small, BETWEEN, 4, reach=8)]), prediction_on(small)
    turns = [0.02 * torch.from_numpy(small.grid.steps[:, k]).float() for k in range(2)]
    found = predict(references, motion, turns)
    learning = predict([each.clone().requires_grad_() for each in references], motion, turns)
    for other in (learning, *(on_threads(n, lambda: predict(references, motion, turns)) for n in (2, 4))):
        assert torch.equal(found, other)


def test_gradients_reach_both_references(sphere, predict):
    references = [torch.rand(1, sphere.grid.npix, 3, requires_grad=True) for _ in range(2)]
    motion = Motion.of([random_tree(sphere, BETWEEN, 4, splits=0.3, reach=6)])
    found = predict(references, motion)
    found.sum().backward()
    first, second = (each.grad for each in references)
    assert first.any() and second.any()
    assert float(first.sum() + second.sum()) == pytest.approx(3 * sphere.grid.npix, rel=1e-3), "weights add up to one"


def test_a_patch_that_moves_is_predicted_as_one_built_there():
    start, place = PatchGrid(256, 4, 0, 64, 64), PatchGrid(256, 1, 128, 64, 64)
    warp = Warp(start)
    moved = TreePrediction(warp, make_padding(start))
    warp.place(place)
    moved.place()
    blocks = BlockGrid(place)
    motion, x_ref = Motion.of([random_tree(blocks, ONE, 1)]), torch.rand(1, place.npix, 3)
    assert torch.equal(moved([x_ref], motion), prediction_on(blocks)([x_ref], motion))


# Damage


def test_half_a_circle_and_more_is_damaged(sphere, predict):
    """At nside 64 a node is 0.016 radians wide."""
    x_ref = torch.rand(1, sphere.grid.npix, 3)
    for vector in ((1000, 0), (1023, 1023), (-1023, 0)):
        with pytest.raises(DamagedStream, match="leads .* radians away; less than half a circle is possible"):
            predict([x_ref], Motion.of([uniform_tree(sphere, ONE, vectors=(*vector, 0, 0))]))
    assert predict([x_ref], Motion.of([uniform_tree(sphere, ONE, vectors=(400, 0, 0, 0))])).isfinite().all()


def test_motion_stacks_the_trees_of_a_batch(sphere):
    trees = [random_tree(sphere, ONE, seed) for seed in range(3)]
    motion = Motion.of(trees)
    assert motion.fields.shape == (3, 12 * 16**2, 6) and motion.level.shape == (3, 12 * 16**2)
    assert np.array_equal(motion.fields[2].numpy(), trees[2].leaves.reshape(-1, 6))
