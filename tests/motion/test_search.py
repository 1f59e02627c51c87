"""The search: known motion is found, on spheres and planes; more weight on the error never makes it worse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import texture, true_field, turn
from trees import BETWEEN, ONE, lumas, same_tree, uniform_tree, used_fields

from deepsphere_codec.layers import Warp
from deepsphere_codec.layers.fields import dual_steps
from deepsphere_codec.layers.padding import make_padding
from deepsphere_codec.motion import kernels
from deepsphere_codec.motion.contexts import DELTA, KINDS, MotionTables
from deepsphere_codec.motion.prediction import Motion, TreePrediction, blur_levels
from deepsphere_codec.motion.search import ROWS, MotionSearch, bounded
from deepsphere_codec.motion.syntax import LeafContext, Setting, choices, delta_rows, earlier_tree
from deepsphere_codec.motion.tree import (
    A0,
    A1,
    B0,
    BLUR,
    BLURS,
    FIRST,
    LAST,
    MEAN,
    MODE,
    SECOND,
    STEP,
    BlockGrid,
    MotionTree,
    still_tree,
)
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

LMBDA = 2000.0
"""Bits for a unit of squared error of luma: about quality 5."""


class Finder:
    """A search on one grid, and the prediction of what it finds."""

    def __init__(self, grid, tables: MotionTables) -> None:  # type: ignore[no-untyped-def]
        self.grid, self.tables, self.blocks = grid, tables, BlockGrid(grid)
        self.search = MotionSearch(grid)
        self.prediction = TreePrediction(Warp(grid), make_padding(grid))

    def find(self, x, references, setting: Setting = ONE, lmbda=LMBDA) -> MotionTree:  # type: ignore[no-untyped-def]
        planes = [lumas(x_ref, self.grid) for x_ref in references]
        return self.search(self.search.problem(x[0, :, 0].numpy(), planes, setting, lmbda), self.tables)

    def predict(self, tree: MotionTree, references: list[torch.Tensor]) -> torch.Tensor:
        return self.prediction(references, Motion.of([tree]), overlap=False)

    def error(self, tree: MotionTree, x: torch.Tensor, references: list[torch.Tensor]) -> float:
        return float((self.predict(tree, references) - x).square().sum())


@pytest.fixture(scope="module")
def on_sphere(tables: MotionTables) -> Finder:
    return Finder(HealpixGrid.cached(64), tables)


@pytest.fixture(scope="module")
def on_plane(tables: MotionTables) -> Finder:
    return Finder(ErpGrid(64, 128), tables)


def smooth_noise(grid, passes: int = 2) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """Noise with as much detail as a picture has, luma [1, npix, 1]."""
    x, padding = torch.rand(1, grid.npix, 1), make_padding(grid)
    for _ in range(passes):
        x = blur_levels(x, padding)[1]
    return 0.5 + 2 * (x - 0.5)


# Known motion


@pytest.mark.parametrize("vector", [(0, 0), (4, 0), (-9, 6), (3, -2), (50, 21), (-77, -33)], ids=str)
def test_a_translation_on_a_plane_is_found_exactly(on_plane, vector):
    """To a quarter of a node, with one leaf a block, around the seam and over the poles."""
    x_ref = smooth_noise(on_plane.grid)
    x = on_plane.predict(uniform_tree(on_plane.blocks, ONE, vectors=(*vector, 0, 0)), [x_ref])
    tree = on_plane.find(x, [x_ref])
    assert used_fields(tree).reshape(-1, 6).tolist() == [[FIRST, 0, *vector, 0, 0]] * (16 * 32)
    assert tree.leaf_count == 2


def in_steps(rotation: torch.Tensor, grid) -> np.ndarray:  # type: ignore[no-untyped-def]
    """True vectors at the middles of the blocks of 4 nodes, in quarter nodes, [images, y, x, 2]."""
    nside = grid.nside
    field = (true_field(rotation, nside)[:, None] * dual_steps(torch.from_numpy(grid.steps))).sum(-1) / STEP
    return field.reshape(12, nside // 4, 4, nside // 4, 4, 2).mean((2, 4)).numpy()


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, -1.0, 2.0)], ids=str)
@pytest.mark.parametrize("degrees", [0.5, 2.0, 6.0])
def test_a_turn_of_the_sphere_is_found_to_a_quarter_of_a_node(on_sphere, axis, degrees):
    """And predicts: over the borders of all faces. A node is 0.9° wide."""
    grid, rotation = on_sphere.grid, turn(axis, degrees)
    p = torch.from_numpy(grid.centers)
    x, x_ref = texture(p @ rotation, 20.0), texture(p, 20.0)
    tree = on_sphere.find(x, [x_ref], lmbda=50 * LMBDA)
    error = np.abs(tree.leaves[..., A0 : B0 + 1] - in_steps(rotation, grid)).max(-1)
    assert np.median(error) <= 1 and np.quantile(error, 0.8) <= 2
    still = float((x - x_ref).square().sum())
    assert on_sphere.error(tree, x, [x_ref]) < 0.08 * still


def test_a_part_that_moves_by_itself_is_found_alone(on_plane):
    """Still parts cost next to nothing; the leaves around the moving part are small."""
    x_ref = smooth_noise(on_plane.grid)
    moved = on_plane.predict(uniform_tree(on_plane.blocks, ONE, vectors=(14, 6, 0, 0)), [x_ref])
    inside = torch.zeros(1, 64, 128, 1, dtype=torch.bool)
    inside[:, 24:44, 40:72] = True
    x = torch.where(inside.view(1, -1, 1), moved, x_ref)
    tree = on_plane.find(x, [x_ref], lmbda=20 * LMBDA)
    vectors = tree.leaves[0, ..., A0 : B0 + 1]
    assert (vectors[6:11, 10:18] == (14, 6)).all() and not vectors[:5].any() and not vectors[12:].any()
    assert on_plane.error(tree, x, [x_ref]) < 0.01 * float((x - x_ref).square().sum())


def test_equal_pictures_do_not_move(on_sphere, on_plane):
    for finder in (on_sphere, on_plane):
        x = smooth_noise(finder.grid)
        assert same_tree(finder.find(x, [x]), still_tree(finder.blocks))


def test_a_blurred_picture_is_predicted_by_blur(on_plane):
    x_ref = smooth_noise(on_plane.grid, 0)
    x = blur_levels(x_ref, make_padding(on_plane.grid))[2]
    tree = on_plane.find(x, [x_ref])
    assert (tree.leaves[..., BLUR] == 2).all() and not tree.leaves[..., A0:].any()
    search, sharp = on_plane.search, [lumas(x_ref, on_plane.grid)[:1]]
    without = search(search.problem(x[0, :, 0].numpy(), sharp, ONE, LMBDA), on_plane.tables)
    assert not without.leaves[..., BLUR].any(), "unless it may not"


# Two references


def test_where_the_picture_is_the_mean_of_both_so_is_its_prediction(on_sphere, on_plane):
    for finder in (on_sphere, on_plane):
        references = [smooth_noise(finder.grid) for _ in range(2)]
        tree = finder.find(sum(references) / 2, references, BETWEEN)
        assert (tree.leaves[..., MODE] == MEAN).mean() > 0.98
        assert finder.error(tree, sum(references) / 2, references) < 0.01 * finder.error(
            still_tree(finder.blocks), sum(references) / 2, references
        )


def test_means_of_what_moves_are_found(on_plane):
    """Each reference shows the picture moved by a vector of its own."""
    x = smooth_noise(on_plane.grid)
    references = [
        on_plane.predict(uniform_tree(on_plane.blocks, ONE, vectors=(-a, -b, 0, 0)), [x]) + 0.03 * torch.randn_like(x)
        for a, b in ((8, 4), (-12, 4))
    ]
    tree = on_plane.find(x, references, BETWEEN, 5 * LMBDA)
    mean = tree.leaves[..., MODE] == MEAN
    assert mean.mean() > 0.9
    rows = slice(4, 12)  # near the poles a step over the border reverses y
    away = np.abs(tree.leaves[:, rows][mean[:, rows]][:, A0:] - (8, 4, -12, 4)).max(1)
    assert np.quantile(away, 0.9) <= 1


def test_what_only_one_reference_shows_is_taken_from_it(on_sphere):
    """The halves of the sphere come from one each."""
    references = [smooth_noise(on_sphere.grid) for _ in range(2)]
    front = (torch.from_numpy(on_sphere.grid.centers)[:, 0] > 0)[None, :, None]
    tree = on_sphere.find(torch.where(front, *references), references, BETWEEN)
    x = torch.from_numpy(on_sphere.grid.centers)[:, 0].reshape(12, 16, 4, 16, 4)
    mode = tree.leaves[..., MODE]
    assert (mode[(x.amin((2, 4)) > 0).numpy()] == FIRST).mean() > 0.98
    assert (mode[(x.amax((2, 4)) < 0).numpy()] == SECOND).mean() > 0.98


def test_an_earlier_tree_is_followed(on_plane):
    """New vectors would cost more bits than those that the earlier tree tells already."""
    earlier = uniform_tree(on_plane.blocks, ONE, vectors=(20, -8, 0, 0))
    setting = Setting((-1, 0), earlier_tree(earlier, (-1, 0), (-1, 0)))
    x_ref = smooth_noise(on_plane.grid)
    x = on_plane.predict(earlier, [x_ref])
    tree = on_plane.find(x, [x_ref], setting)
    assert same_tree(tree, earlier)


# Rules


@pytest.mark.parametrize("geometry", ["sphere", "plane"])
@pytest.mark.parametrize("between", [False, True])
def test_threads_change_no_tree(on_sphere, on_plane, on_threads, geometry, between):
    finder = on_sphere if geometry == "sphere" else on_plane
    x, *references = (smooth_noise(finder.grid) for _ in range(3 if between else 2))
    setting = BETWEEN if between else ONE
    tree = finder.find(x, references, setting)
    for threads in (2, 4):
        assert same_tree(on_threads(threads, lambda: finder.find(x, references, setting)), tree)


@pytest.mark.parametrize("between", [False, True])
def test_more_weight_on_the_error_never_raises_it(on_sphere, between):
    """From next to nothing to next to everything: more leaves, less error (within a percent: bits are estimates)."""
    p = torch.from_numpy(on_sphere.grid.centers)
    noise = 0.02 * smooth_noise(on_sphere.grid)
    x = texture(p @ turn((1.0, 2.0, 0.0), 2.0), 16.0) + noise
    references = [texture(p, 16.0), texture(p @ turn((1.0, 2.0, 0.0), 4.0), 16.0)][: 1 + between]
    errors, leaves = [], []
    for lmbda in (1.0, 30.0, 300.0, 3000.0, 30000.0):
        tree = on_sphere.find(x, references, BETWEEN if between else ONE, lmbda)
        errors.append(on_sphere.error(tree, x, references))
        leaves.append(tree.leaf_count)
    assert all(after <= 1.01 * before for before, after in zip(errors, errors[1:], strict=False)), errors
    assert errors[-1] < 0.5 * errors[0] and leaves[0] < leaves[-1] and leaves[0] < 64


def test_weight_counts_block_by_block(on_plane):
    """A map of lambda: detail where it is large."""
    x, x_ref = smooth_noise(on_plane.grid), smooth_noise(on_plane.grid)
    lmbda = np.array([[[1.0, 100 * LMBDA]]], np.float32)
    tree = on_plane.find(x, [x_ref], lmbda=lmbda)
    assert tree.level[..., 16:].mean() > 3.5 and tree.level[..., :16].mean() < 2


@pytest.mark.parametrize(
    "grid", [PatchGrid(256, 7, 64, 128, 128), ErpPatch(256, 512, 64, 128, 64, 128), HealpixGrid.cached(128)], ids=str
)
def test_it_works_on_every_grid(tables, grid):
    finder = Finder(grid, tables)
    x_ref = smooth_noise(grid)
    x = finder.predict(uniform_tree(finder.blocks, ONE, vectors=(5, -3, 0, 0)), [x_ref])
    tree = finder.find(x, [x_ref])
    away = np.abs(tree.leaves[..., A0 : B0 + 1] - (5, -3)).max(-1)
    assert np.median(away) == 0
    assert finder.error(tree, x, [x_ref]) < 0.05 * float((x - x_ref).square().sum())


def test_pictures_of_chance_have_a_tree_too(on_sphere):
    """Nothing is alike: whatever is found can be written, and predicts no worse than no motion."""
    x, *references = (torch.rand(1, on_sphere.grid.npix, 1) for _ in range(3))
    tree = on_sphere.find(x, references, BETWEEN)
    assert on_sphere.error(tree, x, references) < on_sphere.error(still_tree(on_sphere.blocks), x, references)


@pytest.mark.parametrize("setting", [ONE, BETWEEN], ids=["P", "B"])
def test_the_search_counts_the_bits_that_are_written(tables, setting):
    """Leaf by leaf, whatever it is told from: a candidate taken over, or all symbols of new fields."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        fields = rng.integers(-40, 41, (4, 1, 6)).astype(np.int16)
        fields[..., MODE] = rng.integers(0, 3 if setting.has_second else 1, (4, 1))
        fields[..., BLUR] = rng.integers(0, BLURS, (4, 1))
        first, second, base, wanted = fields[:, :, :]
        wanted = [wanted, first, second][rng.integers(3)]
        merge = KINDS["merge"].row(int(setting.has_second), int(rng.integers(LAST + 1)), int(rng.integers(6)), 1)
        spread = rng.integers(0, 5, 1)
        context = LeafContext(
            first, second, base, merge.reshape(1), spread, int(rng.integers(2)), int(setting.is_between)
        )
        choice = choices(wanted.copy(), context, setting)
        delta = choice.rows >= KINDS["delta"].first
        places = np.where(delta, np.where(np.abs(choice.symbols) > DELTA, DELTA + 1, choice.symbols) + DELTA, 0)
        written = tables.bits[choice.rows, np.where(delta, places, choice.symbols)].sum()
        counted = kernels.symbol_bits(
            wanted[0], first[0], second[0], base[0], context.merge[0], delta_rows(context, None)[0],
            setting.has_second, tables.bits, ROWS,
        )  # fmt: skip
        assert counted == pytest.approx(written)


def test_vectors_that_lead_too_far_are_given_up(on_sphere):
    """The other leaves stay as they are; a vector that does not count is not looked at."""
    tree = still_tree(on_sphere.blocks)
    tree.leaves[0, 0, :4] = [
        [FIRST, 1, 100, -60, 999, 999],
        [FIRST, 1, 100, -61, 0, 0],
        [SECOND, 2, 999, 999, -80, 80],
        [MEAN, 0, 3, 4, 200, 0],
    ]
    found = bounded(tree, 160.0)
    assert found.leaves[0, 0, [0, 2]].tolist() == tree.leaves[0, 0, [0, 2]].tolist()
    assert not found.leaves[0, 0, [1, 3]].any() and found.level is tree.level
    assert found.leaves.dtype == np.int16 and tree.leaves[0, 0, 1, A0] == 100
    assert A1 == 4 and LAST == 4
