"""Motion: found where it is known, in the right direction, and carried between frames and nodes without loss."""

from __future__ import annotations

import math

import pytest
import torch

from deepsphere_codec.models import ModelConfig
from deepsphere_codec.models.motion import (
    MOTION_SCALE,
    MotionAnalysis,
    MotionEstimator,
    MotionSynthesis,
    to_frame,
    to_nodes,
    upsample_field,
)
from deepsphere_codec.models.pyramid import WORK_DEPTH, Pyramid
from deepsphere_codec.sphere import HealpixGrid, log_map, rotation_from_vector
from deepsphere_codec.sphere.patch import PatchGrid

NSIDE = 64
AXES = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)]


@pytest.fixture(scope="module")
def pyramid() -> Pyramid:
    return Pyramid(HealpixGrid.cached(NSIDE))


@pytest.fixture(scope="module")
def estimator(pyramid: Pyramid) -> MotionEstimator:
    return MotionEstimator(pyramid)


def centers(nside: int) -> torch.Tensor:
    return torch.from_numpy(HealpixGrid.cached(nside).centers)


def texture(p: torch.Tensor) -> torch.Tensor:
    """Forty waves of random direction, about eight radians' worth of phase across the sphere: luma [1, n, 1]."""
    generator = torch.Generator().manual_seed(3)
    waves = 8 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(40, generator=generator, dtype=torch.float64)
    return (0.5 + 0.056 * (p @ waves.t() + phases).sin().sum(-1)).float()[None, :, None]


def turn(axis: tuple[float, float, float], degrees: float) -> torch.Tensor:
    vector = torch.tensor(axis, dtype=torch.float64)
    return rotation_from_vector(vector / vector.norm() * math.radians(degrees))


def true_field(rotation: torch.Tensor, nside: int) -> torch.Tensor:
    """The content of x_ref turns by R to make x, so v(p) leads from p back to R⁻¹ p (architecture.md, 6)."""
    p = centers(nside)
    return log_map(p, p @ rotation)


@pytest.mark.parametrize("degrees", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_finds_a_rotation_of_the_sphere(estimator, axis, degrees):
    """Measured: medians of 3 to 6 % of the angle, 90 % of the nodes within 7 to 15 %."""
    rotation = turn(axis, degrees)
    p = centers(NSIDE)
    v = estimator(texture(p @ rotation), texture(p))[0].double()
    error = (v - true_field(rotation, NSIDE // 4)).norm(dim=-1) / math.radians(degrees)
    assert error.median() < 0.08 and error.quantile(0.9) < 0.2
    assert error.max() < 1


def test_the_field_predicts_by_the_warps_sign(estimator, pyramid):
    """What the estimator finds, put through the warp, makes the frame; its opposite makes things worse."""
    p = centers(NSIDE)
    x, x_ref = texture(p @ turn((1.0, -2.0, 0.5), 2.0)), texture(p)
    v = to_nodes(to_frame(estimator(x, x_ref), pyramid), pyramid)
    error = [float((pyramid.warp(0)(x_ref, sign * v) - x).square().mean()) for sign in (1, 0, -1)]
    assert error[0] < 0.02 * error[1] < error[2]


def test_equal_frames_do_not_move(estimator):
    x = texture(centers(NSIDE))
    assert not estimator(x, x).any()


def test_what_stands_still_beside_something_new_does_not_move(estimator):
    """Coarse levels carry vectors far around what has appeared; where they explain nothing they are dropped."""
    p = centers(NSIDE)
    x = texture(p)
    new = torch.where((p[:, 0] > 0.5)[None, :, None], texture(1.3 * p.flip(1)), x)
    still = estimator(new, x)[0][centers(NSIDE // 4)[:, 0] < 0.2]
    assert (still == 0).all(-1).float().mean() > 0.95


def test_charts_steps_lead_to_the_neighbours(estimator):
    """A step in x is half the way from the SW to the NE neighbour; in y, from SE to NW."""
    grid = HealpixGrid.cached(NSIDE >> 1)
    p = torch.from_numpy(grid.centers)
    inside = torch.zeros(12, grid.nside, grid.nside, dtype=torch.bool)
    inside[:, 1:-1, 1:-1] = True
    for axis, (ahead, behind) in enumerate([(4, 0), (2, 6)]):
        ends = (torch.from_numpy(grid.neighbors[:, i]).clamp_min(0) for i in (ahead, behind))
        expected = torch.stack([p[end] for end in ends]).diff(dim=0)[0] / -2
        error = (estimator.get_buffer("steps_1")[:, axis] - expected).norm(dim=-1) / expected.norm(dim=-1)
        assert error[inside.flatten()].median() < 0.01 and error[inside.flatten()].quantile(0.95) < 0.1


def test_noise_moves_little(estimator):
    """One grey level of noise on both frames, nothing else: a small part of a node (0.016 rad), measured 3 %."""
    x = texture(centers(NSIDE))
    v = estimator(x + torch.randn_like(x) / 255, x + torch.randn_like(x) / 255)
    assert v.norm(dim=-1).median() < 0.06 * 0.016


def test_a_flat_picture_does_not_move(estimator):
    x = torch.full((1, 12 * NSIDE**2, 1), 0.3)
    assert not estimator(x, x + 0.1).any()


def test_each_sample_of_a_batch_moves_on_its_own(estimator):
    p = centers(NSIDE)
    x = torch.cat([texture(p @ turn((0.0, 0.0, 1.0), degrees)) for degrees in (2.0, -2.0)])
    v = estimator(x, texture(p).repeat(2, 1, 1))
    apart = torch.cat([estimator(x[i : i + 1], texture(p)) for i in range(2)])
    assert torch.allclose(v, apart, atol=1e-6)
    assert (v[0] * v[1]).sum() < 0


def test_on_a_patch_it_finds_what_it_finds_on_the_sphere(estimator):
    """At nodes that the border does not reach: the same resolution, the same content."""
    rotation = turn((1.0, 1.0, 1.0), 1.0)
    patch = PatchGrid(NSIDE, 5, 0, 0, NSIDE)
    p, q = centers(NSIDE), torch.from_numpy(patch.centers)
    whole = estimator(texture(p @ rotation), texture(p))[0].view(12, 16, 16, 3)[5]
    part = MotionEstimator(Pyramid(patch))(texture(q @ rotation), texture(q))[0].view(16, 16, 3)
    error = (part - whole).norm(dim=-1) / math.radians(1.0)
    assert error[5:-5, 5:-5].max() < 0.1 and error.median() < 0.1


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(estimator, pyramid, threads, on_threads):
    p = centers(NSIDE)
    x, x_ref = texture(p @ turn((1.0, -2.0, 0.5), 2.0)), texture(p)
    one = estimator(x, x_ref)
    assert torch.equal(one, on_threads(threads, lambda: estimator(x, x_ref)))
    field = to_frame(one, pyramid)
    assert torch.equal(field, on_threads(threads, lambda: to_frame(one, pyramid)))
    assert torch.equal(to_nodes(field, pyramid), on_threads(threads, lambda: to_nodes(field, pyramid)))


@pytest.mark.parametrize("depth, factor", [(2, 4), (3, 2), (6, 2)])
@pytest.mark.parametrize("threads", [2, 4])
def test_upsampling_is_the_same_with_any_number_of_threads(pyramid, depth, factor, threads, on_threads):
    v = torch.randn(2, 12 * (NSIDE >> depth) ** 2, 3)
    one = upsample_field(v, pyramid.padding(depth), factor)
    assert torch.equal(one, on_threads(threads, lambda: upsample_field(v, pyramid.padding(depth), factor)))


@pytest.mark.parametrize("depth, factor", [(2, 4), (3, 2), (4, 8), (6, 2)])
def test_a_constant_field_stays_what_it_is_to_the_last_bit(pyramid, depth, factor):
    """Also where three faces meet and a node is missing."""
    v = torch.tensor([0.3, -1.1, 0.7]).repeat(2, 12 * (NSIDE >> depth) ** 2, 1)
    up = upsample_field(v, pyramid.padding(depth), factor)
    assert up.shape == (2, 12 * (factor * NSIDE >> depth) ** 2, 3)
    assert torch.equal(up, v[:, :1].expand_as(up))


def test_upsampling_is_bilinear_within_faces_and_smooth_over_their_borders(pyramid):
    """A linear function of the position on the sphere: its error is that of the faces' curvature, everywhere."""
    v = (centers(16) @ torch.tensor([[1.0, 2, 3], [-2, 1, 0], [0.5, 0, 1]]).double()).float()[None]
    up = upsample_field(v, pyramid.padding(WORK_DEPTH), 4)
    exact = (centers(64) @ torch.tensor([[1.0, 2, 3], [-2, 1, 0], [0.5, 0, 1]]).double()).float()
    error = (up[0] - exact).abs().amax(-1)
    assert error.mean() < 0.005 and error.max() < 0.08  # a node is 0.06 rad wide at nside 16, slopes are up to 3.7
    ramp = torch.arange(16.0).repeat(12 * 16, 1).view(1, -1, 1)  # x within each face
    inner = upsample_field(ramp, pyramid.padding(WORK_DEPTH), 4).view(12, 64, 64)[:, 4:-4, 4:-4]
    assert torch.allclose(inner, ((torch.arange(4, 60) - 1.5) / 4).expand_as(inner), atol=1e-5)


def test_upsampling_has_a_gradient(pyramid):
    v = torch.zeros(1, 12 * 16**2, 3, requires_grad=True)
    upsample_field(v, pyramid.padding(WORK_DEPTH), 4).sum().backward()
    assert float(v.grad.sum()) == pytest.approx(3 * 12 * 64**2, rel=1e-5)
    assert (v.grad > 0).all()


def test_frames_and_back(pyramid):
    """A field in the tangent plane loses nothing on the way to the face frame; units are MOTION_SCALE."""
    field = torch.randn(2, 12 * 16**2, 2)
    frame = pyramid.frame(WORK_DEPTH)
    v = MOTION_SCALE * (field[..., :1] * frame[:, 0] + field[..., 1:] * frame[:, 1])
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


def test_synthesis_starts_at_no_motion(pyramid, tiny):
    synthesis = MotionSynthesis(tiny, pyramid)
    field = synthesis(torch.randn(1, 12 * 4**2, tiny.motion_latents))
    assert field.shape == (1, 12 * 16**2, 2) and not field.any()
    field.sum().backward()
    assert synthesis.layers[-1].weight.grad.abs().max() > 0, "but it can learn"


def test_analysis_sees_direction(pyramid):
    """The field's two components, and luma, each reach the latents."""
    analysis = MotionAnalysis(ModelConfig(motion_latents=4, motion_channels=8), pyramid).requires_grad_(False)
    field, luma = torch.randn(1, 12 * 16**2, 2), torch.rand(1, 12 * NSIDE**2, 1)
    still = analysis(field, luma, luma, luma)
    assert still.shape == (1, 12 * 4**2, 4)
    others = [
        analysis(field.flip(-1), luma, luma, luma),
        analysis(-field, luma, luma, luma),
        analysis(field, 1 - luma, luma, luma),
        analysis(field, luma, 1 - luma, luma),
        analysis(field, luma, luma, 1 - luma),
    ]
    assert all((other - still).abs().max() > 1e-3 for other in others)
