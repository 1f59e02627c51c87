"""The grid against healpy, which knows RING order for any nside and NESTED for powers of two."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from deepsphere_codec.sphere import HealpixGrid, dir_to_face_xy, face_xy_to_dir

NSIDES = [2, 3, 4, 5, 6, 8, 12, 16, 32, 48, 64]
POWERS = [n for n in NSIDES if n & (n - 1) == 0]


def face_xy(nside: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face, x and y of every node, from the definition of face-major order."""
    index = np.arange(12 * nside**2)
    return index // nside**2, index % nside, index // nside % nside


@pytest.mark.parametrize("nside", NSIDES)
def test_order_is_face_major_and_converts_to_ring(nside: int) -> None:
    grid = HealpixGrid(nside)
    face, x, y = face_xy(nside)
    assert np.array_equal(grid.to_ring, healpy.xyf2pix(nside, x, y, face))
    assert np.array_equal(grid.to_ring[grid.from_ring], np.arange(grid.npix))


@pytest.mark.parametrize("nside", [1, *POWERS])
def test_converts_to_nested(nside: int) -> None:
    grid = HealpixGrid(nside)
    assert np.array_equal(grid.to_nested, healpy.ring2nest(nside, grid.to_ring))
    assert np.array_equal(grid.to_nested[grid.from_nested], np.arange(grid.npix))


@pytest.mark.parametrize("nside", [1, *NSIDES])
def test_centers(nside: int) -> None:
    grid = HealpixGrid(nside)
    expected = np.stack(healpy.pix2vec(nside, grid.to_ring), axis=-1)
    assert grid.centers.dtype == np.float64
    np.testing.assert_allclose(grid.centers, expected, rtol=0, atol=2e-15)
    np.testing.assert_allclose(np.linalg.norm(grid.centers, axis=-1), 1, rtol=0, atol=5e-16)


@pytest.mark.parametrize("nside", NSIDES)
def test_neighbors_in_healpy_order(nside: int) -> None:
    grid = HealpixGrid(nside)
    expected = healpy.get_all_neighbours(nside, grid.to_ring).T
    found = np.where(grid.neighbors >= 0, grid.to_ring[grid.neighbors], -1)
    assert np.array_equal(found, expected)
    assert np.count_nonzero(grid.neighbors < 0) == 24
    assert np.count_nonzero((grid.neighbors < 0).any(axis=1)) == 24


@pytest.mark.parametrize("nside", NSIDES)
def test_parents_and_children(nside: int) -> None:
    grid, finer = HealpixGrid(nside), HealpixGrid(2 * nside)
    assert np.array_equal(finer.parents[grid.children], np.repeat(np.arange(grid.npix)[:, None], 4, axis=1))
    assert np.array_equal(np.sort(grid.children, axis=None), np.arange(finer.npix))
    face, x, y = face_xy(nside)
    fine_face, fine_x, fine_y = face_xy(2 * nside)
    for k, (dx, dy) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        child = grid.children[:, k]
        assert np.array_equal(fine_face[child], face)
        assert np.array_equal(fine_x[child], 2 * x + dx) and np.array_equal(fine_y[child], 2 * y + dy)


@pytest.mark.parametrize("nside", [n for n in POWERS if n >= 2])
def test_parents_are_those_of_nested_order(nside: int) -> None:
    grid, coarser = HealpixGrid(nside), HealpixGrid(nside // 2)
    assert np.array_equal(coarser.to_nested[grid.parents], grid.to_nested // 4)


@pytest.mark.parametrize(("nside", "depth"), [(1, 1), (2, 2), (3, 2), (5, 5), (6, 3), (8, 1), (8, 4), (12, 2)])
def test_halo(nside: int, depth: int) -> None:
    grid = HealpixGrid(nside)
    halo = grid.halo(depth)
    side = nside + 2 * depth
    assert halo.shape == (12, side, side)
    inside = halo[:, depth:-depth, depth:-depth]
    assert np.array_equal(inside, np.arange(grid.npix).reshape(12, nside, nside))
    # A hole of depth x depth at two corners of each face, three faces around each of eight points.
    assert np.count_nonzero(halo < 0) == 24 * depth**2
    if depth > 1:
        assert np.array_equal(halo[:, 1:-1, 1:-1], grid.halo(depth - 1))
    if nside > 1:
        ring_neighbors = healpy.get_all_neighbours(nside, grid.to_ring).T
        for before, after in ((halo[:, :, :-1], halo[:, :, 1:]), (halo[:, :-1], halo[:, 1:])):
            both = (before >= 0) & (after >= 0)
            touching = (ring_neighbors[before[both]] == grid.to_ring[after[both]][:, None]).any(axis=1)
            assert touching.all()


def test_halo_lies_straight_beyond_the_edge() -> None:
    """Two steps out of a face along a row are nearer to the face than three: no border is mirrored."""
    nside, depth = 16, 3
    grid = HealpixGrid(nside)
    halo = grid.halo(depth)[:, depth:-depth, depth:-depth]
    border = grid.halo(depth)
    edge = grid.centers[halo[:, nside // 2, -1]]
    distances = [
        np.linalg.norm(grid.centers[border[:, depth + nside // 2, nside + depth + d]] - edge, axis=-1) for d in range(3)
    ]
    assert (distances[0] < distances[1]).all() and (distances[1] < distances[2]).all()


@pytest.mark.parametrize("nside", [1, 2, 6, 12, 64])
def test_frame_is_orthonormal_and_follows_x(nside: int) -> None:
    grid = HealpixGrid(nside)
    e_x, e_y = grid.frame
    np.testing.assert_allclose(np.cross(e_x, e_y), grid.centers, rtol=0, atol=1e-14)
    np.testing.assert_allclose((e_x * e_y).sum(-1), 0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(e_x, axis=-1), 1, rtol=0, atol=1e-14)
    face, x, y = face_xy(nside)
    half = 1e-5
    step_x = face_xy_to_dir(face, x + half, y, nside) - face_xy_to_dir(face, x - half, y, nside)
    step_y = face_xy_to_dir(face, x, y + half, nside) - face_xy_to_dir(face, x, y - half, nside)
    step_x /= np.linalg.norm(step_x, axis=-1, keepdims=True)
    step_y /= np.linalg.norm(step_y, axis=-1, keepdims=True)
    # The faces have a crease where the polar caps begin; nodes on it have two directions of x.
    smooth = np.abs(np.abs(grid.centers[:, 2]) - 2 / 3) > 1e-9
    np.testing.assert_allclose(e_x[smooth], step_x[smooth], rtol=0, atol=1e-8)
    assert ((e_x * step_x).sum(-1) > 0.9).all()
    assert ((e_y * step_y).sum(-1) > 0.7).all()


@pytest.mark.parametrize("nside", [1, 2, 6, 64, 192])
def test_positions_of_any_direction(nside: int, directions: np.ndarray) -> None:
    face, x, y = dir_to_face_xy(directions, nside)
    assert face.min() >= 0 and face.max() <= 11
    for axis in (x, y):
        assert axis.min() >= -0.5 - 1e-9 and axis.max() <= nside - 0.5 + 1e-9
    np.testing.assert_allclose(face_xy_to_dir(face, x, y, nside), directions, rtol=0, atol=3e-15)
    # Nearest node; away from cell borders, where rounding may fall either way.
    clear = np.maximum(np.abs(x - np.rint(x)), np.abs(y - np.rint(y))) < 0.5 - 1e-6
    node = (face * nside + np.rint(y).astype(int)) * nside + np.rint(x).astype(int)
    expected = healpy.vec2pix(nside, *directions.T)
    assert np.array_equal(HealpixGrid(nside).to_ring[node[clear]], expected[clear])
    assert clear.mean() > 0.9


@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-6])
def test_positions_keep_their_precision_at_the_poles(distance: float) -> None:
    lon = np.linspace(0, 2 * np.pi, 25)[:-1] + 0.1
    for sign in (1, -1):
        dirs = np.stack([distance * np.cos(lon), distance * np.sin(lon), np.full_like(lon, sign)], axis=-1)
        back = face_xy_to_dir(*dir_to_face_xy(dirs, 4), 4)
        # What is lost is the position's own rounding, 4 + 0.5 in steps of 1e-15, not half of the digits.
        np.testing.assert_allclose(back, dirs, rtol=0, atol=3e-15 + distance**2)


def test_poles_and_length() -> None:
    for pole in ([0, 0, 1.0], [0, 0, -1.0], [-0.0, -0.0, 1.0]):
        np.testing.assert_allclose(face_xy_to_dir(*dir_to_face_xy(pole, 8), 8), pole, atol=1e-15)
    short, long = dir_to_face_xy([0.1, 0.2, -0.3], 8), dir_to_face_xy([10.0, 20.0, -30.0], 8)
    np.testing.assert_allclose(short, long, atol=1e-12)


def test_shared_grid() -> None:
    assert HealpixGrid.cached(4) is HealpixGrid.cached(4)
    assert HealpixGrid.cached(4).nside == 4 and HealpixGrid(4).npix == 192


@pytest.mark.parametrize("nside", [0, -4, 2.0, "8", True, None])
def test_refuses_a_wrong_nside(nside: object) -> None:
    with pytest.raises(ValueError, match="whole number of at least 1"):
        HealpixGrid(nside)  # type: ignore[arg-type]


def test_refuses_what_a_grid_does_not_have() -> None:
    with pytest.raises(ValueError, match="nside 3 is odd"):
        _ = HealpixGrid(3).parents
    with pytest.raises(ValueError, match="6 is not a power of two"):
        _ = HealpixGrid(6).to_nested
    with pytest.raises(ValueError, match="6 is not a power of two"):
        _ = HealpixGrid(6).from_nested
    for depth in (0, -1, 5):
        with pytest.raises(ValueError, match=r"must lie in 1\.\.4"):
            HealpixGrid(4).halo(depth)
