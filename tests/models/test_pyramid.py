"""The pyramid of resolutions, on the whole sphere and on patches of it, wherever they lie."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import GDN, ChebConv, DirectionalConv, fold_children
from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.pyramid import COARSEST_DEPTH, WORK_DEPTH, Pyramid
from deepsphere_codec.models.transforms import Analysis, Synthesis, cosine_basis, fold, unfold
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.patch import PatchGrid

START = PatchGrid(256, 4, 64, 128, 64)
BASIS = cosine_basis((1.0, 0.5, 0.5), 2, 6)  # of a signal that has three channels at nside / 4
PLACES = [PatchGrid(256, 0, 0, 0, 64), PatchGrid(256, 9, 192, 192, 64), PatchGrid(256, 6, 64, 0, 64)]


def buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def unequal(a: nn.Module, b: nn.Module) -> list[str]:
    mine, other = buffers(a), buffers(b)
    assert mine.keys() == other.keys() and mine
    return [name for name in mine if not torch.equal(mine[name], other[name])]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_placed_pyramid_equals_one_built_there(place):
    moved, there = Pyramid(START), Pyramid(place)
    assert unequal(moved, there), "they lie elsewhere"
    moved.place(place)
    assert not unequal(moved, there)
    assert moved.grids == there.grids


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_prediction_and_search_follow(tiny, place):
    moved, there = SphereDVC(tiny, START), SphereDVC(tiny, place)
    assert moved.inter.search.grid == moved.inter.blocks.grid == START
    moved.pyramid.place(place)
    moved.inter.place()
    assert not unequal(moved.inter.prediction, there.inter.prediction)
    assert moved.inter.search.grid == moved.inter.blocks.grid == place


def test_a_placed_pyramid_works_with_20_neighbours_too(tmp_path, monkeypatch):
    """Their order is by number, which differs from place to place."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path))
    start, place = PatchGrid(64, 4, 0, 0, 64), PatchGrid(64, 0, 0, 0, 64)
    moved, there = Pyramid(start, 20), Pyramid(place, 20)
    x = torch.randn(3, 256, 2)
    moved.laplacian(WORK_DEPTH)(x)  # tables for this batch exist before the move
    moved.place(place)
    assert not unequal(moved, there)
    assert torch.equal(moved.laplacian(WORK_DEPTH)(x), there.laplacian(WORK_DEPTH)(x))


def test_a_patchs_laplacian_conserves_what_it_smooths():
    """No flux through the border: a constant stays constant, and nothing is lost."""
    operator = Pyramid(PLACES[0]).laplacian(WORK_DEPTH)
    assert (operator(torch.ones(1, 256, 1)) + 1).abs().max() < 1e-6  # L of a constant is 0, and L̃ = 2 L / λ - 1
    x = torch.rand(1, 256, 1)
    assert float((operator(x) + x).sum()) == pytest.approx(0, abs=1e-4)


def test_fingerprints_are_those_of_the_graphs_in_use():
    expected = [build_graph(64 >> depth).fingerprint for depth in range(WORK_DEPTH, COARSEST_DEPTH + 1)]
    assert Pyramid(HealpixGrid.cached(64)).graph_fingerprints == expected
    assert len(set(expected)) == 5
    assert Pyramid(PatchGrid(256, 0, 0, 0, 64)).graph_fingerprints[2:] == expected[:3], "of the whole sphere's"


@pytest.mark.parametrize("grid", [HealpixGrid(32), HealpixGrid(96), PatchGrid(256, 0, 0, 0, 96)], ids=str)
def test_sizes_that_have_no_ancestors_are_refused(grid):
    with pytest.raises(ValueError, match="expected a multiple of 64"):
        Pyramid(grid)


def test_a_patch_off_the_raster_has_no_parents():
    with pytest.raises(ValueError, match="must be even"):
        Pyramid(PatchGrid(256, 0, 32, 0, 64))


def test_tables_are_not_in_the_state_dict():
    assert Pyramid(START).state_dict() == {}


def test_fold_brings_two_generations_into_channels_and_unfold_back():
    grid = HealpixGrid.cached(64)
    pyramid = Pyramid(grid)
    x = torch.randn(2, grid.npix, 3)
    folded = fold(x, pyramid)
    assert folded.shape == (2, grid.npix // 16, 48)
    assert torch.equal(unfold(folded, pyramid), x)
    number = torch.arange(grid.npix)[None, :, None]
    grandparent = torch.from_numpy(HealpixGrid(32).parents[grid.parents])
    found = grandparent[fold(number, pyramid)[0].long()]
    assert torch.equal(found, torch.arange(grid.npix // 16)[:, None].expand_as(found))


def deep(side: int, border: int) -> torch.Tensor:
    """Nodes of a patch that lie far enough from its border."""
    y, x = torch.arange(side)[:, None], torch.arange(side)[None, :]
    ahead = torch.minimum(torch.minimum(x, side - 1 - x), torch.minimum(y, side - 1 - y))
    return (ahead >= border).flatten()


def both(make, whole: Pyramid, part: Pyramid) -> tuple[nn.Module, nn.Module]:
    """The same network on the sphere and on the patch, with nothing zero in it."""
    networks = make(whole), make(part)
    for p in networks[0].parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.1)
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


@pytest.fixture(scope="module")
def sphere_and_patch() -> tuple[Pyramid, Pyramid]:
    return Pyramid(HealpixGrid.cached(256)), Pyramid(PatchGrid(256, 7, 0, 0, 256))


@pytest.mark.parametrize("place", [PatchGrid(128, 5, 64, 0, 64), PatchGrid(128, 1, 0, 0, 64)], ids=str)
def test_layers_on_a_patch_equal_those_on_the_sphere(place):
    """A Chebyshev and a directional layer see two and one nodes far; deeper inside, the border is out of sight."""
    whole, part = Pyramid(HealpixGrid.cached(128)), Pyramid(place)

    def make(pyramid: Pyramid) -> nn.Module:
        at = pyramid.at[WORK_DEPTH]
        return nn.Sequential(ChebConv(3, 4, 3, at.laplacian), GDN(4), DirectionalConv(4, 5, at.padding))

    on_whole, on_part = both(make, whole, part)
    nodes = torch.from_numpy(part.grids[WORK_DEPTH].nodes)
    x = torch.randn(2, 12 * 32**2, 3)
    with torch.no_grad():
        error = (on_part(x[:, nodes]) - on_whole(x)[:, nodes]).abs().amax((0, 2))
    assert error[deep(16, 3)].max() < 1e-5
    assert error[~deep(16, 1)].max() > 1e-2, "at the border it does show"


def test_a_transform_on_a_face_equals_the_one_on_the_sphere(sphere_and_patch, tiny):
    """Analysis sees 3 nodes at nside / 16, 6 at nside / 8 and 4 at nside / 4: seven nodes of latents at most."""
    on_whole, on_part = both(lambda pyramid: Analysis(3, 6, (8, 8), BASIS, tiny, pyramid), *sphere_and_patch)
    nodes = torch.from_numpy(sphere_and_patch[1].grids[WORK_DEPTH].nodes)
    x = torch.randn(1, 12 * 64**2, 3)
    with torch.no_grad():
        y, y_part = on_whole(x)[:, 7 * 16**2 : 8 * 16**2], on_part(x[:, nodes])
    error = (y_part - y).abs().amax((0, 2)) / y.abs().max()
    assert error[deep(16, 7)].max() < 1e-5
    assert error[~deep(16, 1)].max() > 1e-2


def test_a_synthesis_on_a_face_equals_the_one_on_the_sphere(sphere_and_patch, tiny):
    on_whole, on_part = both(lambda pyramid: Synthesis(6, 0, (8, 8), BASIS, tiny, pyramid), *sphere_and_patch)
    y, quality = torch.randn(1, 12 * 16**2, 6), torch.tensor([3.5])
    with torch.no_grad():
        x, x_part = on_whole(y, quality)[:, 7 * 64**2 : 8 * 64**2], on_part(y[:, 7 * 16**2 : 8 * 16**2], quality)
    error = (x_part - x).abs().amax((0, 2)) / x.abs().max()
    assert error[deep(64, 28)].max() < 1e-5
    assert error[~deep(64, 4)].max() > 1e-2


def test_children_of_a_patch_are_those_of_the_sphere():
    """The patch's own numbering halves with it: node for node the same parents."""
    patch = PatchGrid(256, 7, 64, 128, 64)
    whole = torch.arange(12 * 256**2)[None, :, None]
    parts = fold_children(whole[:, patch.nodes], 64)
    assert torch.equal(parts, fold_children(whole, 256)[:, patch.parent().nodes])


def test_a_network_of_an_odd_configuration_is_built_on_any_grid():
    config = ModelConfig(kinds=("chebyshev", "chebyshev"), cheb_order=2, work_channels=4, middle_channels=6)
    grids: list[Grid] = [HealpixGrid.cached(64), START]
    for grid in grids:
        pyramid = Pyramid(grid)
        y = Analysis(3, 6, (4, 6), BASIS, config, pyramid)(torch.randn(2, grid.npix // 16, 3))
        assert y.shape == (2, grid.npix // 256, 6)
