"""The cubic stencil on the faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsphere_codec.sphere import HealpixGrid, dir_to_face_xy, face_xy_to_dir, stencil
from deepsphere_codec.sphere.interpolation import keys_weights


@pytest.mark.parametrize("a", [-0.5, -0.75])
def test_kernel_against_its_definition(a: float) -> None:
    fraction = np.linspace(0, 1, 21)[:-1]
    distance = np.abs(fraction[:, None] - np.array([-1, 0, 1, 2]))
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    np.testing.assert_allclose(keys_weights(fraction, a), np.where(distance <= 1, near, far), rtol=0, atol=1e-14)


@pytest.mark.parametrize("nside", [2, 3, 4, 6, 12, 64])
def test_rows_sum_to_one_and_use_real_nodes(nside: int, directions: np.ndarray) -> None:
    rows = stencil(directions, nside)
    assert rows.index.dtype == torch.int32 and rows.weights.dtype == torch.float32
    assert rows.index.min() >= 0 and rows.index.max() < 12 * nside**2
    torch.testing.assert_close(rows.weights.sum(1), torch.ones(len(directions)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("nside", [2, 5, 8, 48])
def test_a_node_reads_itself(nside: int) -> None:
    grid = HealpixGrid(nside)
    x = torch.rand(grid.npix, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(stencil(grid.centers, nside).apply(x), x, rtol=0, atol=1e-5)


def test_is_smooth_across_face_borders() -> None:
    """Coordinates of the sphere, read on both sides of every edge, agree with the truth as well as inside."""
    nside = 32
    across = np.linspace(-0.499, 0.499, 7)
    along = np.linspace(1, nside - 2, 40)
    face, u, v = (axis.reshape(-1) for axis in np.meshgrid(np.arange(12), across, along, indexing="ij"))
    inside = np.where(u < 0, u, nside - 1 + u)
    grid = torch.from_numpy(HealpixGrid(nside).centers).float()
    for x, y in ((inside, v), (v, inside)):
        dirs = face_xy_to_dir(face, x, y, nside)
        error = np.abs(stencil(dirs, nside).apply(grid).numpy() - dirs)
        # A node's width is 0.032, and a wrongly glued edge errs by that and more; the faces' creases err by a third.
        assert error.max() < 0.011 and error.mean() < 0.002


def test_three_face_corners() -> None:
    """Around the eight corners taps fall into a hole; their weight goes to neighbours, and errors stay small."""
    nside = 16
    rng = np.random.default_rng(0)
    lon, sign = np.arange(4) * np.pi / 2, np.array([1.0, -1.0])
    corner_lon, corner_sign = (axis.reshape(-1) for axis in np.meshgrid(lon, sign))
    radius = np.sqrt(5) / 3
    corners = np.stack([radius * np.cos(corner_lon), radius * np.sin(corner_lon), corner_sign * 2 / 3], axis=-1)
    dirs = np.repeat(corners, 200, axis=0) + rng.uniform(-0.5, 0.5, (1600, 3)) / nside
    dirs /= np.linalg.norm(dirs, axis=-1, keepdims=True)
    assert set(dir_to_face_xy(dirs, nside)[0]) == set(range(12))
    rows = stencil(dirs, nside)
    assert (rows.weights == 0).any()
    read = rows.apply(torch.from_numpy(HealpixGrid(nside).centers).float()).numpy()
    assert np.abs(read - dirs).max() < 0.25 * 1.02 / nside


def test_takes_any_shape_and_tensors() -> None:
    dirs = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(stencil(dirs, 8).index, stencil(dirs.numpy().reshape(6, 3) * 2, 8).index)


@pytest.mark.parametrize("nside", [1, 0])
def test_refuses_a_grid_too_coarse(nside: int) -> None:
    with pytest.raises(ValueError, match="must be >= 2"):
        stencil(np.eye(3), nside)
