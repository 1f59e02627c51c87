"""Tangent fields: carried between resolutions, frames and faces without loss, and the same on any number of threads."""

from __future__ import annotations

import math

import pytest
import torch
from support import centers, true_field, turn

from deepsphere_codec.models.fields import (
    MOTION_SCALE,
    chart_steps,
    combine,
    components,
    dual_steps,
    to_frame,
    to_nodes,
    upsample_field,
)
from deepsphere_codec.models.pyramid import WORK_DEPTH
from deepsphere_codec.sphere import HealpixGrid

NSIDE = 64
AXES = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)]


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


@pytest.mark.parametrize("depth, factor", [(2, 4), (3, 2), (6, 2)])
@pytest.mark.parametrize("threads", [2, 4])
def test_upsampling_is_the_same_with_any_number_of_threads(pyramid, depth, factor, threads, on_threads):
    v = torch.randn(2, 12 * (NSIDE >> depth) ** 2, 3)
    one = upsample_field(v, pyramid.padding(depth), factor)
    assert torch.equal(one, on_threads(threads, lambda: upsample_field(v, pyramid.padding(depth), factor)))


@pytest.mark.parametrize("threads", [2, 4])
def test_frames_and_nodes_are_the_same_with_any_number_of_threads(pyramid, threads, on_threads):
    v = true_field(turn((1.0, -2.0, 0.5), 2.0), NSIDE >> WORK_DEPTH).float()[None]
    field = to_frame(v, pyramid)
    assert torch.equal(field, on_threads(threads, lambda: to_frame(v, pyramid)))
    assert torch.equal(to_nodes(field, pyramid), on_threads(threads, lambda: to_nodes(field, pyramid)))


@pytest.mark.parametrize("depth, factor", [(2, 4), (3, 2), (4, 8), (6, 2)])
def test_a_constant_field_stays_what_it_is_to_the_last_bit(pyramid, depth, factor):
    """Also where three faces meet and a node is missing."""
    v = torch.tensor([0.3, -1.1, 0.7]).repeat(2, 12 * (NSIDE >> depth) ** 2, 1)
    up = upsample_field(v, pyramid.padding(depth), factor)
    assert up.shape == (2, 12 * (factor * NSIDE >> depth) ** 2, 3)
    assert torch.equal(up, v[:, :1].expand_as(up))


def test_upsampling_is_bilinear_within_faces_and_smooth_over_their_borders(pyramid):
    """A linear function of the position on the sphere: its error is that of the faces' curvature, everywhere."""
    linear = torch.tensor([[1.0, 2, 3], [-2, 1, 0], [0.5, 0, 1]]).double()
    up = upsample_field((centers(16) @ linear).float()[None], pyramid.padding(WORK_DEPTH), 4)
    error = (up[0] - (centers(64) @ linear).float()).abs().amax(-1)
    assert error.mean() < 0.005 and error.max() < 0.08  # a node is 0.06 rad wide at nside 16, slopes are up to 3.7
    ramp = torch.arange(16.0).repeat(12 * 16, 1).view(1, -1, 1)  # x within each face
    inner = upsample_field(ramp, pyramid.padding(WORK_DEPTH), 4).view(12, 64, 64)[:, 4:-4, 4:-4]
    assert torch.allclose(inner, ((torch.arange(4, 60) - 1.5) / 4).expand_as(inner), atol=1e-5)


def test_upsampling_has_a_gradient(pyramid):
    v = torch.zeros(1, 12 * 16**2, 3, requires_grad=True)
    upsample_field(v, pyramid.padding(WORK_DEPTH), 4).sum().backward()
    assert float(v.grad.sum()) == pytest.approx(3 * 12 * 64**2, rel=1e-5)
    assert (v.grad > 0).all()


def test_components_and_combinations_are_matrix_products(pyramid):
    """Written out for the sake of the order of sums; equal to what they stand for."""
    frame, v, field = pyramid.frame(WORK_DEPTH), torch.randn(2, 12 * 16**2, 3), torch.randn(2, 12 * 16**2, 2)
    assert torch.allclose(components(v, frame), torch.einsum("bni,nki->bnk", v, frame), atol=1e-6)
    assert torch.allclose(combine(field, frame), torch.einsum("bnk,nki->bni", field, frame), atol=1e-6)


def test_frames_and_back(pyramid):
    """A field in the tangent plane loses nothing on the way to the face frame; units are MOTION_SCALE."""
    field = torch.randn(2, 12 * 16**2, 2)
    v = MOTION_SCALE * combine(field, pyramid.frame(WORK_DEPTH))
    assert torch.allclose(to_frame(v, pyramid), field, atol=1e-5)
    assert torch.allclose(v.norm(dim=-1), MOTION_SCALE * field.norm(dim=-1), rtol=1e-4)


def test_no_motion_is_none_at_any_node(pyramid):
    v = to_nodes(torch.zeros(1, 12 * 16**2, 2), pyramid)
    assert v.shape == (1, 12 * NSIDE**2, 3) and not v.any()


def test_fields_at_the_nodes_are_tangent(pyramid):
    v = to_nodes(torch.randn(1, 12 * 16**2, 2), pyramid)[0]
    assert ((v * centers(NSIDE).float()).sum(-1).abs() <= 1e-5 * v.norm(dim=-1).clamp_min(1e-6)).all()


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_a_rotations_field_survives_the_way_to_the_nodes(pyramid, axis):
    """Over every border of the faces, whose frames are turned against one another."""
    rotation = turn(axis, 2.0)
    coarse = true_field(rotation, NSIDE // 4).float()[None]
    v = to_nodes(to_frame(coarse, pyramid), pyramid)[0].double()
    error = (v - true_field(rotation, NSIDE)).norm(dim=-1) / math.radians(2.0)
    assert error.max() < 0.06 and error.mean() < 0.005
