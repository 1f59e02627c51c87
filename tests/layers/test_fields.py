"""Tangent fields in their two forms: what goes from one to the other comes back."""

from __future__ import annotations

import pytest
import torch
from support import centers

from deepsphere_codec.layers.fields import chart_steps, combine, components, dual_steps
from deepsphere_codec.sphere import ErpGrid, HealpixGrid

NSIDE = 64


def test_charts_steps_lead_to_the_neighbours():
    """A step in x is half the way from the SW to the NE neighbour; in y, from SE to NW."""
    grid = HealpixGrid.cached(NSIDE >> 1)
    p = torch.from_numpy(grid.centers)
    inside = torch.zeros(12, grid.nside, grid.nside, dtype=torch.bool)
    inside[:, 1:-1, 1:-1] = True
    steps = chart_steps(grid)
    for axis, (ahead, behind) in enumerate([(4, 0), (2, 6)]):
        ends = (torch.from_numpy(grid.neighbors[:, i]).clamp_min(0) for i in (ahead, behind))
        expected = torch.stack([p[end] for end in ends]).diff(dim=0)[0] / -2
        error = (steps[:, axis] - expected).norm(dim=-1) / expected.norm(dim=-1)
        assert error[inside.flatten()].median() < 0.01 and error[inside.flatten()].quantile(0.95) < 0.1


def test_duals_are_the_pseudo_inverse():
    steps = chart_steps(HealpixGrid(16)).double()
    torch.testing.assert_close(dual_steps(steps), torch.linalg.pinv(steps).transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_components_and_combinations_are_matrix_products():
    """Written out for the sake of the order of sums; equal to what they stand for."""
    frame = chart_steps(HealpixGrid.cached(16))
    v, field = torch.randn(2, 12 * 16**2, 3), torch.randn(2, 12 * 16**2, 2)
    assert torch.allclose(components(v, frame), torch.einsum("bni,nki->bnk", v, frame), atol=1e-6)
    assert torch.allclose(combine(field, frame), torch.einsum("bnk,nki->bni", field, frame), atol=1e-6)


@pytest.mark.parametrize("grid", [HealpixGrid.cached(16), ErpGrid(32, 64)], ids=str)
def test_steps_and_back(grid):
    """A field in steps loses nothing on the way to Cartesian components: the duals tell how many steps there were."""
    steps = chart_steps(grid).double()
    field = torch.randn(2, grid.npix, 2, dtype=torch.float64)
    assert torch.allclose(components(combine(field, steps), dual_steps(steps)), field, atol=1e-9)


def test_steps_are_tangent():
    grid = HealpixGrid.cached(NSIDE)
    steps = chart_steps(grid).double()
    along = (steps * centers(NSIDE)[:, None]).sum(-1).abs() / steps.norm(dim=-1)
    assert along.max() < 0.02 and along.median() < 1e-4
