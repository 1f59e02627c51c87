"""The motion estimator: still where nothing moves, alike on patches and threads, and ready to learn."""

from __future__ import annotations

import math

import pytest
import torch
from support import centers, texture, true_field, turn

from deepsphere_codec.models.estimator import FieldUpdate, MotionEstimator
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.rotation import rotation_field
from deepsphere_codec.sphere.patch import PatchGrid

NSIDE, WORK = 64, 16
NODE = (math.pi / 3) ** 0.5 / NSIDE
"""Radians."""
P = centers(NSIDE)


class Estimate:
    """The estimator on luma instead of stacks."""

    def __init__(self, pyramid: Pyramid) -> None:
        self.estimator = MotionEstimator(pyramid, 8)

    def __call__(self, x: torch.Tensor, x_ref: torch.Tensor, rotation: torch.Tensor | None = None) -> torch.Tensor:
        return self.estimator(self.estimator.stack(x), self.estimator.stack(x_ref), rotation)


@pytest.fixture(scope="module")
def estimate(pyramid: Pyramid) -> Estimate:
    return Estimate(pyramid)


def test_stacks_are_means_over_the_parents(estimate):
    x = texture(P)
    stack = estimate.estimator.stack(x)
    assert list(stack) == [1, 2, 3, 4]
    by_face = x.view(12, NSIDE, NSIDE)
    for depth, luma in stack.items():
        size = 1 << depth
        block = by_face[7, 2 * size : 3 * size, size : 2 * size]
        assert float(luma.view(12, NSIDE >> depth, -1)[7, 2, 1]) == pytest.approx(float(block.mean()), abs=1e-6)


def test_equal_frames_do_not_move(estimate):
    x = texture(P)
    assert not estimate(x, x).any()


def test_a_flat_picture_does_not_move(estimate):
    x = torch.full((1, 12 * NSIDE**2, 1), 0.3)
    assert not estimate(x, x + 0.1).any()


def test_what_stands_still_beside_something_new_hardly_moves(estimate):
    """Coarse levels carry vectors far around what has appeared; fine ones bring them back."""
    x = texture(P)
    new = torch.where((P[:, 0] > 0.5)[None, :, None], texture(1.3 * P.flip(1)), x)
    still = estimate(new, x)[0][centers(WORK)[:, 0] < 0.2].norm(dim=-1)
    assert still.quantile(0.5) < 0.05 * NODE and still.quantile(0.9) < 0.3 * NODE and still.max() < NODE


def test_noise_moves_little(estimate):
    """One grey level of noise on both frames, nothing else: a small part of a node."""
    x = texture(P)
    v = estimate(x + torch.randn_like(x) / 255, x + torch.randn_like(x) / 255)
    assert v.norm(dim=-1).median() < 0.06 * NODE


def test_a_turn_that_is_known_is_not_found_again(estimate):
    """What remains after the camera's rotation: nothing; without knowing it, all of it."""
    rotation = turn((1.0, -1.0, 2.0), 1.0)
    x, x_ref = texture(P @ rotation), texture(P)
    known, unknown = estimate(x, x_ref, rotation.t())[0], estimate(x, x_ref)[0]
    assert known.norm(dim=-1).mean() < 0.1 * unknown.norm(dim=-1).mean()
    own = turn((0.0, 0.0, 1.0), 1.0)  # something moves besides
    there = (P[:, 0] > 0.5)[None, :, None]
    v = estimate(torch.where(there, texture(P @ own @ rotation), x), x_ref, rotation.t())[0].double()
    coarse = centers(WORK)
    inside, outside = coarse[:, 0] > 0.7, coarse[:, 0] < 0.3
    total = v + rotation_field(coarse, rotation.t())
    assert (total - true_field(own @ rotation, WORK))[inside].norm(dim=-1).median() < 0.1 * math.radians(1)
    assert v[outside].norm(dim=-1).median() < 0.1 * math.radians(1)


def test_each_sample_of_a_batch_moves_on_its_own(estimate):
    x = torch.cat([texture(P @ turn((0.0, 0.0, 1.0), degrees)) for degrees in (2.0, -2.0)])
    v = estimate(x, texture(P).repeat(2, 1, 1))
    apart = torch.cat([estimate(x[i : i + 1], texture(P)) for i in range(2)])
    assert torch.allclose(v, apart, atol=1e-6)
    assert (v[0] * v[1]).sum() < 0


def test_on_a_patch_it_finds_what_it_finds_on_the_sphere(estimate):
    """At nodes that the border does not reach: the same resolution, the same content."""
    rotation = turn((1.0, 1.0, 1.0), 1.0)
    patch = PatchGrid(NSIDE, 5, 0, 0, NSIDE)
    q = torch.from_numpy(patch.centers)
    whole = estimate(texture(P @ rotation), texture(P))[0].view(12, WORK, WORK, 3)[5]
    part = Estimate(Pyramid(patch))(texture(q @ rotation), texture(q))[0].view(WORK, WORK, 3)
    error = (part - whole).norm(dim=-1) / math.radians(1.0)
    assert error[5:-5, 5:-5].max() < 0.15 and error.median() < 0.1


def test_threads_change_nothing(estimate, on_threads):
    x, x_ref = texture(P @ turn((1.0, -2.0, 0.5), 2.0)), texture(P)
    one = estimate(x, x_ref)
    for threads in (2, 4):
        assert torch.equal(one, on_threads(threads, lambda: estimate(x, x_ref)))


# What is learned


def test_its_updates_start_at_zero(pyramid):
    update = FieldUpdate(pyramid.padding(3), 8)
    x, warped = torch.rand(2, 2, 12 * 8**2, 1)
    step, known = torch.randn(2, 2, 12 * 8**2, 2)
    assert not update(x, warped, step, known).any()
    with torch.no_grad():
        update.layers[-1].weight.normal_()
    first = update(x, warped, step, known)
    others = (
        update(x + 0.1, warped, step, known),
        update(x, 1 - warped, step, known),
        update(x, warped, -step, known),
        update(x, warped, step, -known),
    )
    assert all((other - first).abs().max() > 1e-3 for other in others), "each of what it sees counts"


def test_a_gradient_reaches_the_update_of_every_level():
    """Each level's field is where the next one starts from."""
    estimator = MotionEstimator(Pyramid(PatchGrid(NSIDE, 5, 0, 0, NSIDE)), 8)
    with torch.no_grad():
        for p in estimator.parameters():
            if not p.any():
                p.normal_(std=0.01)
    stacks = [estimator.stack(torch.rand(1, NSIDE**2, 1)) for _ in range(2)]
    estimator.estimate(*stacks).square().sum().backward()
    untouched = [name for name, p in estimator.named_parameters() if p.grad is None or not p.grad.any()]
    assert not untouched
