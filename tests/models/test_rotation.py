"""The camera's turn: its field on the sphere, its bytes, and how well it is found."""

from __future__ import annotations

import math

import pytest
import torch
from support import centers, psnr, texture, turn

from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.models.rotation import (
    ROTATION_BYTES,
    ROTATION_STEP,
    NoRotation,
    RotationEstimator,
    read_rotation,
    rotation_field,
    rotation_of,
    turned,
    write_rotation,
)
from deepsphere_codec.sphere import exp_map, log_map
from deepsphere_codec.sphere.rotation import vector_from_rotation

NSIDE = 64
AXES = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, -1.0, 2.0)]
ROUNDING = math.degrees(ROTATION_STEP) * 3**0.5 / 2  # half a unit along each axis


# The field


def directions() -> torch.Tensor:
    """Anywhere on the sphere, and the axes of AXES, where nothing moves."""
    return torch.nn.functional.normalize(torch.cat([torch.randn(500, 3), torch.tensor(AXES)]).double(), dim=-1)


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("degrees", [1e-9, 1e-6, 1e-3, 0.05, 1.0, 30.0, 120.0, 179.0])
def test_its_field_leads_to_where_the_rotation_does(axis, degrees):
    p, rotation = directions(), turn(axis, degrees)
    q = p @ rotation.t()
    v = rotation_field(p, rotation)
    assert (exp_map(p, v) - q).abs().max() < 1e-9 and (v - log_map(p, q)).abs().max() < 1e-6
    assert (v * p).sum(-1).abs().max() < 1e-12, "tangent"
    assert float(v.norm(dim=-1).max()) == pytest.approx(math.radians(degrees), rel=0.01), "short ones are not lost"


@pytest.mark.parametrize("degrees", [1e-4, 0.05, 1.0, 30.0])
def test_its_field_in_single_precision(degrees):
    p, rotation = directions(), turn((1.0, -1.0, 2.0), degrees)
    v = rotation_field(p.float(), rotation)
    assert v.dtype == torch.float32
    assert (v - rotation_field(p, rotation)).abs().max() < min(1e-6, 1e-3 * math.radians(degrees))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_turn_is_no_motion_to_the_last_bit(pyramid, dtype):
    p = centers(NSIDE).to(dtype)
    v = rotation_field(p, rotation_of(torch.zeros(3, dtype=torch.int64)))
    assert torch.equal(v, torch.zeros_like(p))
    x = torch.rand(1, len(p), 3)
    assert torch.equal(pyramid.warp(0)(x, v[None].float()), x)


def test_on_any_number_of_threads_it_is_the_same(on_threads):
    p, rotation = centers(NSIDE).float(), turn((1.0, -1.0, 2.0), 3.0)
    assert torch.equal(rotation_field(p, rotation), on_threads(4, lambda: rotation_field(p, rotation)))


@pytest.mark.parametrize("degrees", [0.0, 0.3, 40.0, 120.0])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_a_signal_is_turned_as_its_field_warps_it(pyramid, axis, degrees):
    """To the rounding of positions, which by a corner where three faces meet tells whose border counts."""
    warp, rotation = pyramid.warp(0), turn(axis, degrees)
    field = rotation_field(warp.centers, rotation)[None]
    x = texture(centers(NSIDE), 3.0)[..., :1].float()
    difference = (turned(x, rotation, warp) - warp(x, field)).abs()
    assert difference.quantile(0.999) < 1e-5 and difference.max() < 2e-3


# The bytes


@pytest.mark.parametrize("units", [[0, 0, 0], [1, -2, 3], [-32768, 0, 32767], [29717, -29717, 29717], [-1, 255, -256]])
def test_what_is_written_is_what_is_read(units):
    payload = write_rotation(torch.tensor(units))
    assert len(payload) == ROTATION_BYTES == 6
    for more in (b"", b"and so on"):
        assert read_rotation(payload + more).tolist() == units


def test_the_turn_of_units_is_about_their_vector():
    vector = vector_from_rotation(rotation_of(torch.tensor([3, -4, 12])))
    assert torch.allclose(vector, ROTATION_STEP * torch.tensor([3.0, -4, 12]).double(), atol=1e-12)


@pytest.mark.parametrize("length", range(6))
def test_bytes_that_end_early_are_damaged(length):
    with pytest.raises(DamagedStream, match="ends within its rotation"):
        read_rotation(write_rotation(torch.tensor([1, 2, 3]))[:length])


@pytest.mark.parametrize("units", [[29718, 29718, 29718], [-32768, -32768, -32768], [32767, 32767, 23000]])
def test_half_a_circle_and_more_is_damaged(units):
    """At half a circle two fields are right; nothing says which."""
    with pytest.raises(DamagedStream, match="less than half a circle"):
        read_rotation(write_rotation(torch.tensor(units)))


# The search


@pytest.fixture(scope="module")
def search(pyramid: Pyramid) -> RotationEstimator:
    """The estimator as the codec calls it, on luma."""
    return RotationEstimator(pyramid)


def error(units: torch.Tensor, rotation: torch.Tensor) -> float:
    """Degrees between what is found and x(p) = x_ref(R⁻¹ p)."""
    return math.degrees(float(vector_from_rotation(rotation_of(units) @ rotation).norm()))


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("degrees", [0.05, 0.3, 1.0, 5.0])
def test_finds_a_turn_to_two_percent(search, axis, degrees):
    """And the rounding of its units: 0.003°, which is 1/75 of a node at nside 256."""
    p, rotation = centers(NSIDE), turn(axis, degrees)
    units = search(texture(p @ rotation), texture(p))
    assert units.dtype == torch.int64
    assert error(units, rotation) < 0.02 * degrees + ROUNDING


@pytest.mark.parametrize("degrees", [0.3, 1.0, 5.0])
def test_a_third_of_the_sphere_that_moves_by_itself_hardly_matters(search, degrees):
    """The same texture, turning by 3° about another axis, and a grey level of noise on all of it."""
    p, rotation = centers(NSIDE), turn((1.0, -1.0, 2.0), degrees)
    alone = (p[:, 0] > 1 / 3)[None, :, None]
    x = torch.where(alone, texture(p @ turn((0.3, -1.0, 0.5), 3.0) @ rotation), texture(p @ rotation))
    noise = torch.randn_like(x) / 255
    assert error(search(x + noise, texture(p)), rotation) < 0.05 * degrees + ROUNDING


def test_a_third_of_the_sphere_that_is_new_hardly_matters(search):
    p, rotation = centers(NSIDE), turn((0.0, 1.0, 0.0), 1.0)
    x = torch.where((p[:, 0] > 1 / 3)[None, :, None], texture(1.3 * p.flip(1)), texture(p @ rotation))
    assert error(search(x, texture(p)), rotation) < 0.02 + ROUNDING


def test_its_sign_is_the_warps(search, pyramid):
    """What is found, put through the warp, makes the frame; its opposite makes things worse."""
    p, rotation = centers(NSIDE), turn((1.0, -2.0, 0.5), 1.0)
    x, x_ref, units = texture(p @ rotation), texture(p), search(texture(p @ rotation), texture(p))
    decibels = []
    for sign in (1, 0, -1):
        v = rotation_field(pyramid.warp(0).centers, rotation_of(sign * units))[None]
        decibels.append(psnr(x, pyramid.warp(0)(x_ref, v)))
    assert decibels[0] > 45 and decibels[0] > decibels[1] + 15 > decibels[2] + 18


def test_equal_frames_do_not_turn(search):
    x = texture(centers(NSIDE))
    assert not search(x, x).any()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("levels", [0.5, 2.0, 8.0])
def test_noise_does_not_turn(search, flat, levels):
    """Neither on a picture nor on none: a turned reference is smoother between its nodes, which is no reason."""
    x = torch.full((1, 12 * NSIDE**2, 1), 0.3) if flat else texture(centers(NSIDE))
    first, second = (x + levels / 255 * torch.randn_like(x) for _ in range(2))
    assert not search(first, second).any()


@pytest.mark.parametrize("change", [lambda x: x + 0.03, lambda x: 1.1 * x, lambda x: 1 - x])
def test_light_does_not_turn(search, change):
    x = texture(centers(NSIDE))
    assert not search(change(x), x).any()


def test_another_scene_turns_by_no_more_than_a_right_angle(search):
    """Wherever chance leads it: what is written can be read, and motion can be added to it."""
    p = centers(NSIDE)
    for axis, degrees, detail in (
        ((1.0, 0.0, 0.0), 180.0, 1.0),
        ((0.0, 1.0, 1.0), 120.0, 1.0),
        ((0.0, 0.0, 1.0), 77.0, 4.0),
    ):
        units = search(texture(p @ turn(axis, degrees), detail), texture(p, detail))
        assert float(units.double().norm()) * ROTATION_STEP <= math.pi / 2
        assert read_rotation(write_rotation(units)).tolist() == units.tolist()


@pytest.mark.parametrize(
    ("degrees", "turned_error", "opposite_error", "pays"),
    [
        (1.0, 0.94, 1.0, True),
        (1.0, 0.96, 1.0, False),
        (1.0, 0.5, 0.53, True),
        (1.0, 0.5, 0.52, False),
        (89.9, 0.5, 1.0, True),
        (90.1, 0.5, 1.0, False),
    ],
)
def test_a_turn_pays_where_it_leaves_less_error_than_none_and_than_its_opposite(
    search, monkeypatch, degrees, turned_error, opposite_error, pays
):
    """Errors in hundredths; below 95 % of the smaller of both others, and by less than a right angle."""
    x, x_ref, rotation = torch.zeros(1, 48, 1), torch.full((1, 48, 1), 0.01), turn((1.0, -1.0, 2.0), degrees)

    def told(x: torch.Tensor, by: torch.Tensor, depth: int) -> torch.Tensor:
        return x * (turned_error if torch.equal(by, rotation) else opposite_error)

    monkeypatch.setattr(search, "_turned", told)
    assert search._pays(x, x_ref, rotation, 3) == pays


def test_an_outlier_counts_no_more_than_eight_grey_levels(search, monkeypatch):
    """A turn that mends a few nodes by much, and makes all others worse, does not pay."""
    few = torch.zeros(1, 48, 1)
    few[0, :4] = 1.0
    all_of_them = torch.full((1, 48, 1), 4 / 255)
    rotation = turn((0.0, 0.0, 1.0), 1.0)
    monkeypatch.setattr(search, "_turned", lambda x, by, _: all_of_them if torch.equal(by, rotation) else x)
    assert not search._pays(torch.zeros(1, 48, 1), few, rotation, 3)


@pytest.mark.parametrize("share", [1.0, -1.0, 2.0, 0.25])
def test_a_turn_goes_on_for_a_share_of_its_time(search, share):
    """Towards another reference: at the same speed, about the same axis."""
    units = torch.tensor([900, -400, 1300])
    vector = vector_from_rotation(rotation_of(units))
    angle = math.degrees(share * float(vector.norm()))
    expected = rotation_field(centers(NSIDE), turn(tuple(vector.tolist()), angle))
    assert (search.field(units, share) - expected).abs().max() < 1e-6


def test_on_a_plane_no_turn_is_found_or_decoded():
    plane, x = NoRotation(), torch.rand(2, 1, 100, 1)
    assert plane(*x).tolist() == [0, 0, 0]
    with pytest.raises(DamagedStream, match="the pictures of a planar codec do not turn"):
        plane.field(torch.tensor([1, 2, 3]))
