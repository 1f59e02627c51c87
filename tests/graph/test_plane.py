"""The graph of a picture: eight neighbours, one weight for each distance, a bounded spectrum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepsphere_codec.graph import plane_graph
from deepsphere_codec.layers import RescaledLaplacian
from deepsphere_codec.layers.operators import rescaled_laplacian
from deepsphere_codec.sphere import ErpGrid, ErpPatch


def dense(grid: ErpGrid | ErpPatch) -> np.ndarray:
    """The rescaled Laplacian as a matrix."""
    index, weight = rescaled_laplacian(plane_graph(grid))
    matrix = torch.zeros(grid.npix, grid.npix, dtype=torch.float64)
    rows = torch.arange(grid.npix)[:, None].expand_as(index)
    return matrix.index_put_((rows, index), weight, accumulate=True).numpy()


@pytest.mark.parametrize(
    "grid", [ErpGrid(2, 4), ErpGrid(8, 16), ErpGrid(6, 10), ErpPatch(32, 64, 0, 8, 8, 12)], ids=str
)
def test_it_is_symmetric_and_its_spectrum_fills_minus_one_to_one(grid):
    matrix = dense(grid)
    assert np.array_equal(matrix, matrix.T), "so its gradient is the product itself"
    values = np.linalg.eigvalsh(matrix)
    assert values.min() == pytest.approx(-1, abs=1e-9), "of the constant"
    assert values.max() < 1 + 1e-9
    if isinstance(grid, ErpGrid):
        assert values.max() == pytest.approx(1, abs=1e-9), "of a pattern that alternates from column to column"


def test_waves_along_a_row_are_its_eigenvectors():
    """L = 4 - (1 + cos u)(1 + cos v), and L̃ = L / 2 - 1; v = 0 here."""
    grid, k = ErpGrid(8, 16), 2  # of even order, so that half a turn changes nothing
    wave = torch.cos(2 * torch.pi * k * torch.arange(16) / 16).repeat(8)[None, :, None]
    expected = (4 - 2 * (1 + np.cos(2 * np.pi * k / 16))) / 2 - 1
    assert torch.allclose(RescaledLaplacian(plane_graph(grid))(wave), expected * wave, atol=1e-6)


def test_fingerprints_tell_sizes_and_widths_apart():
    graph = plane_graph(ErpGrid(8, 16))
    assert graph.fingerprint == plane_graph(ErpGrid(8, 16)).fingerprint
    others = plane_graph(ErpGrid(16, 8)), plane_graph(ErpGrid(4, 16)), replace(graph, lmax=5.0)
    assert graph.fingerprint not in {other.fingerprint for other in others}
