"""Rotations against turns written out by hand and torch's matrix exponential."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deepsphere_codec.sphere import random_rotation, rotation_from_euler, rotation_from_vector, vector_from_rotation

EYE = torch.eye(3, dtype=torch.float64)
X, Y, Z = EYE
ANGLES = [0.0, 1e-12, 1e-5, 0.03, 0.0317, 1.0, 2.5, math.pi - 1e-6, math.pi - 1e-10]


def axes(count: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def cross_matrix(w: Tensor) -> Tensor:
    """[w] with [w] u = w x u, column by column."""
    return torch.stack([torch.linalg.cross(w, unit.expand_as(w)) for unit in EYE], dim=-1)


def test_quarter_turns() -> None:
    quarter = rotation_from_vector(math.pi / 2 * EYE)
    torch.testing.assert_close(quarter[2] @ X, Y, rtol=0, atol=1e-15)
    torch.testing.assert_close(quarter[0] @ Y, Z, rtol=0, atol=1e-15)
    torch.testing.assert_close(quarter[1] @ Z, X, rtol=0, atol=1e-15)


@pytest.mark.parametrize("angle", ANGLES)
def test_exponential_and_logarithm(angle: float) -> None:
    vectors = angle * axes()
    rotations = rotation_from_vector(vectors)
    assert rotations.dtype == torch.float64
    torch.testing.assert_close(rotations, torch.matrix_exp(cross_matrix(vectors)), rtol=0, atol=1e-14)
    torch.testing.assert_close(rotations @ rotations.mT, EYE.expand_as(rotations), rtol=0, atol=1e-14)
    assert (torch.linalg.det(rotations) - 1).abs().max() < 1e-14
    torch.testing.assert_close(vector_from_rotation(rotations), vectors, rtol=0, atol=1e-14)


def test_logarithm_of_half_turns() -> None:
    for axis in (*EYE, *axes(10)):
        half_turn = 2 * torch.outer(axis, axis) - EYE
        vector = vector_from_rotation(half_turn)
        assert abs(float(vector.norm()) - math.pi) < 1e-14
        torch.testing.assert_close(rotation_from_vector(vector), half_turn, rtol=0, atol=1e-14)


def test_euler_angles_are_yaw_pitch_roll_of_a_camera() -> None:
    forward = rotation_from_euler(0.3, 0.4, 1.1) @ X
    assert abs(math.atan2(forward[1], forward[0]) - 0.3) < 1e-15
    assert abs(math.asin(forward[2]) - 0.4) < 1e-15
    torch.testing.assert_close(rotation_from_euler(0, 0, math.pi / 2) @ Y, Z, rtol=0, atol=1e-15)
    expected = rotation_from_vector(0.3 * Z) @ rotation_from_vector(-0.4 * Y) @ rotation_from_vector(0.5 * X)
    torch.testing.assert_close(rotation_from_euler(0.3, 0.4, 0.5), expected, rtol=0, atol=1e-15)


def test_random_rotations_are_uniform_and_repeatable() -> None:
    generator = torch.Generator().manual_seed(5)
    rotations = torch.stack([random_rotation(generator) for _ in range(4000)])
    torch.testing.assert_close(rotations @ rotations.mT, EYE.expand_as(rotations), rtol=0, atol=1e-14)
    assert (torch.linalg.det(rotations) - 1).abs().max() < 1e-14
    # Haar measure: every entry has mean 0 and variance 1/3, and the angle's mean is pi/2 + 2/pi.
    assert rotations.mean(0).abs().max() < 0.04
    assert (rotations.square().mean(0) - 1 / 3).abs().max() < 0.03
    angles = vector_from_rotation(rotations).norm(dim=-1)
    assert abs(float(angles.mean()) - (math.pi / 2 + 2 / math.pi)) < 0.04
    assert torch.equal(random_rotation(torch.Generator().manual_seed(5)), rotations[0])
