"""Augmentation against truths: motion that is known, turns that are uniform, maps that keep angles, exact fields."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from support import assert_uniform, one_thread

from deepsphere_codec.data import augment
from deepsphere_codec.data.augment import (
    BLACK,
    GREY,
    MIRRORED,
    aim,
    fade_contrast,
    fly,
    fly_on,
    inverted,
    jitter_colours,
    motion_map,
    moved,
    moving_direction,
    random_rotation,
    rotating,
    small_rotation,
    true_field,
    zooming,
)
from deepsphere_codec.sphere import erp_directions, exp_map, log_map, vector_from_rotation
from deepsphere_codec.sphere.patch import PatchGrid

WIDTH, HEIGHT = 256, 128
PIXEL = 2 * math.pi / WIDTH
BLOCK = PatchGrid(128, 5, 64, 0, 64)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def directions(n: int = 1000) -> np.ndarray:
    d = rng().normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


# Where something moves

PEBBLES = 12 * rng(3).normal(size=(12, 3))


def pebbles(d: np.ndarray) -> np.ndarray:
    """Waves of every direction, about a dozen pixels long: grey levels."""
    return np.clip(128 + 22 * np.sin(d @ PEBBLES.T + np.arange(12)).sum(-1), 16, 235)


def film_of(*lumas: np.ndarray) -> np.ndarray:
    """Grey frames."""
    grey = np.full((len(lumas[0]) // 2, lumas[0].shape[1]), 128)
    return np.stack([np.concatenate([np.rint(luma), grey]) for luma in lumas]).astype(np.uint8)


def rotated(pixels: float, width: int = WIDTH) -> np.ndarray:
    """The picture, turned about the vertical axis."""
    angle = pixels * PIXEL
    c, s = math.cos(angle), math.sin(angle)
    return pebbles(erp_directions(width // 2, width) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))


@pytest.mark.parametrize("pixels, width", [(0.25, 256), (0.5, 512), (1.0, 256), (2.0, 256)])
def test_motion_is_measured_in_radians_on_the_sphere(pixels, width):
    """A turn about the poles moves everything by the same number of columns, but by less angle at high latitudes."""
    motion = motion_map(film_of(*(rotated(t * pixels, width) for t in range(3))))
    lat = np.pi / 2 - (np.arange(30) * 4 + 4.5) * np.pi / HEIGHT
    truth = pixels * PIXEL * np.cos(lat)[:, None]
    assert motion.shape == (30, 64)
    middle = slice(4, -4)  # near the poles, columns are stretched beyond recognition
    ratio = motion[middle] / truth[middle]
    assert np.median(ratio) == pytest.approx(1, abs=0.1) and np.abs(ratio - 1).mean() < 0.2


def test_noise_and_flicker_are_no_motion():
    still = rotated(0)
    noisy = [still + rng(i).normal(0, 2, still.shape) for i in range(3)]
    assert np.quantile(motion_map(film_of(*noisy)), 0.99) < 0.2 * PIXEL
    assert moving_direction(film_of(*noisy), rng()) is None
    assert moving_direction(film_of(still, still), rng()) is None
    flat = [np.full((HEIGHT, WIDTH), level) for level in (90, 120, 100)]
    assert moving_direction(film_of(*flat), rng()) is None, "a light that is switched on"


@pytest.mark.parametrize("place", [(1, 0, 0), (-1, 0.02, 0.3), (0.3, 0.2, -0.9)], ids=["front", "seam", "low"])
@pytest.mark.parametrize("pixels", [1, 3, 8])
def test_directions_are_drawn_where_something_moves(place, pixels):
    """Within a disc of 20 degrees the picture moves; half a window, six degrees, is the map's own blur."""
    axis = np.array(place) / np.linalg.norm(place)
    inside = erp_directions(HEIGHT, WIDTH) @ axis > math.cos(math.radians(20))
    speed = pixels / math.sqrt(1 - axis[2] ** 2)
    film = film_of(*(np.where(inside, rotated(t * speed), rotated(0)) for t in range(3)))
    drawn = [moving_direction(film, rng(seed)) for seed in range(60)]
    away = np.degrees([math.acos(min(1, d @ axis)) for d in drawn])
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1)
    assert away.max() < 27 and np.median(away) > 8, "all over the disc"
    assert np.array_equal(moving_direction(film, rng(3)), drawn[3])


def test_where_all_of_it_moves_directions_are_uniform(monkeypatch):
    """But for the rows beside the poles that no window covers."""
    monkeypatch.setattr(augment, "motion_map", lambda frames: np.ones((30, 64), np.float32))
    generator, film = rng(), film_of(rotated(0))
    drawn = np.stack([moving_direction(film, generator) for _ in range(3000)])
    assert_uniform(drawn)


# Rotations


def test_axes_of_small_rotations_are_uniform():
    generator = rng()
    axes = vector_from_rotation(torch.from_numpy(np.stack([small_rotation(generator, 3.0) for _ in range(3000)])))
    assert_uniform(axes.numpy())


def test_a_camera_turns_and_zooms_about_axes_uniform_on_the_sphere():
    """The first step zooms, the second turns as well."""
    generator = rng()
    steps = [fly_on([np.eye(4)] * 2, 0.1, 1.1, generator) for _ in range(3000)]
    zooms = np.stack([zoom[0, 1:] for zoom, _ in steps])
    pushes = np.stack([(inverted(zoom) @ both)[1:, 1:] for zoom, both in steps])
    assert_uniform(zooms)
    assert_uniform(vector_from_rotation(torch.from_numpy(pushes)).numpy())


def test_rotations_are_uniform():
    turns = np.stack([random_rotation(rng(i)) for i in range(2000)])
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1)
    assert np.abs(turns.mean(0)).max() < 0.05 and np.abs((turns**2).mean(0) - 1 / 3).max() < 0.03
    assert abs(np.trace(turns, axis1=1, axis2=2).mean()) < 0.1


def angle(rotation: np.ndarray) -> float:
    return math.degrees(math.acos(min(1.0, (np.trace(rotation) - 1) / 2)))


def test_small_rotations_are_small_and_of_every_size_up_to_the_limit():
    turns = [small_rotation(rng(i), 3.0) for i in range(500)]
    angles = np.array([angle(turn) for turn in turns])
    assert all(np.allclose(turn @ turn.T, np.eye(3), atol=1e-10) for turn in turns)
    assert angles.max() <= 3 + 1e-6 and angles.max() > 2.9 and np.mean(angles) == pytest.approx(1.5, abs=0.15)


def test_aiming_brings_a_direction_to_a_node_and_leaves_the_rest_to_chance():
    node, toward = directions()[:2]
    aside = np.cross(node, [0, 0, 1.0])
    aside /= np.linalg.norm(aside)
    turns = [aim(random_rotation(rng(i)), node, toward) for i in range(800)]
    assert all(np.allclose(turn @ node, toward) and np.linalg.det(turn) > 0 for turn in turns)
    assert all(np.allclose(turn @ turn.T, np.eye(3)) for turn in turns)
    seen = np.array([turn @ aside for turn in turns])
    assert np.abs(seen.mean(0)).max() < 0.1, "every way up is as likely"
    assert np.abs((seen**2).sum(0)).max() < 1.1 * 400, "about the direction, half and half across it"
    straight = random_rotation(rng())
    assert np.allclose(aim(straight, node, straight @ node), straight)


# The camera's way


def test_a_zoom_is_a_stereographic_scaling():
    axis, d = directions()[0], directions()
    before, after = (np.arccos(np.clip(x @ axis, -1, 1)) for x in (d, moved(d, zooming(axis, 1.3))))
    assert np.allclose(np.tan(after / 2), np.tan(before / 2) / 1.3)
    assert np.allclose(moved(axis[None], zooming(axis, 1.3)), axis) and np.allclose(zooming(axis, 1.0), np.eye(4))


def test_maps_keep_angles_and_lengths_and_have_inverses():
    """Small steps in two directions stay perpendicular and equally long: conformal."""
    step = zooming(directions()[0], 1.2) @ rotating(random_rotation(rng())) @ zooming(directions()[1], 0.8)
    d = directions()
    side = np.cross(d, [0.3, -0.5, 0.8])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(d, side)
    assert np.allclose(np.linalg.norm(moved(d, step), axis=1), 1)
    a, b = ((moved(d + 1e-6 * v, step) - moved(d - 1e-6 * v, step)) / 2e-6 for v in (side, up))
    # A step along the sphere is lengthened alike in all directions; d +- 1e-6 v is of unit length to 1e-12.
    assert np.abs((a * b).sum(1)).max() < 1e-4 and np.allclose((a * a).sum(1), (b * b).sum(1), rtol=1e-4)
    assert np.allclose(moved(moved(d, step), inverted(step)), d)
    assert np.allclose(moved(d, rotating(MIRRORED)), d * [1, -1, 1])


def test_without_zoom_or_change_the_camera_goes_on_as_it_did():
    steps = [rotating(small_rotation(rng(), 2.0))] * 3
    assert all(np.array_equal(a, b) for a, b in zip(fly_on(steps, 0.0, 1.0, rng(2)), steps, strict=True))


def test_turns_change_evenly_and_zooms_are_even():
    limit = 0.002
    first = small_rotation(rng(), 1.0)
    pushes, factors = [], []
    for seed in range(200):
        steps = fly_on([rotating(first)] * 4, limit, 1.0, rng(seed))
        vectors = vector_from_rotation(torch.from_numpy(np.stack(steps)[:, 1:, 1:])).numpy()
        changes = np.diff(vectors, axis=0)
        assert np.allclose(vectors[0], vector_from_rotation(torch.from_numpy(first)).numpy())
        assert np.allclose(changes, changes[0], atol=2e-5), "the same push every frame"
        pushes.append(np.linalg.norm(changes[0]))
        zooms = fly_on([np.eye(4)] * 3, 0.0, 1.05, rng(seed))
        factors += [math.exp(math.acosh(zoom[0, 0])) for zoom in zooms]
        assert np.allclose(zooms[0], zooms[2])
    assert max(pushes) < limit * 1.01 and max(pushes) > 0.9 * limit
    assert max(factors) < 1.05 + 1e-9 and max(factors) > 1.045 and min(factors) < 1.005


def wandering(seed: int, frames: int = 4) -> list[np.ndarray]:
    return fly_on([rotating(small_rotation(rng(seed), 3.0))] * (frames - 1), 0.01, 1.05, rng(seed + 1))


@pytest.mark.parametrize("mirror", [np.eye(3), MIRRORED], ids=["seen", "mirrored"])
def test_the_true_field_leads_to_what_the_frame_before_shows(mirror):
    """Frame t shows the direction D_t(x) at node x; D_(t - 1) of the place that the field leads to is the same."""
    turn, steps = random_rotation(rng()) @ mirror, wandering(3)
    looks = fly(BLOCK.centers @ turn.T, steps)
    field = true_field(BLOCK, turn, steps)
    e_x, e_y = (torch.from_numpy(axis) for axis in BLOCK.frame)
    assert field.shape == (3, BLOCK.npix, 2) and looks.shape == (4, BLOCK.npix, 3)
    for t in range(3):
        v = field[t, :, :1] * e_x + field[t, :, 1:] * e_y
        place = exp_map(torch.from_numpy(BLOCK.centers), v).numpy()
        assert np.allclose(fly(place @ turn.T, steps)[t], looks[t + 1], atol=1e-9)
    speed = field.norm(dim=-1)
    assert 0.01 < speed.max() < math.radians(3) + 0.06 and speed.std() > 1e-4, "it moves, and not everywhere alike"


def test_a_turning_camera_has_the_field_of_its_turn():
    """The content turns by the inverse of what the camera does: v leads back along it (architecture.md, 6)."""
    spin = small_rotation(rng(), 2.0)
    field = true_field(BLOCK, np.eye(3), [rotating(spin)])[0]
    p = torch.from_numpy(BLOCK.centers)
    v = log_map(p, torch.from_numpy(BLOCK.centers @ spin.T))
    assert torch.allclose(field.norm(dim=-1), v.norm(dim=-1), atol=1e-12)
    assert true_field(BLOCK, np.eye(3), []).shape == (0, BLOCK.npix, 2)


# Colour


def test_colours_change_evenly_and_by_no_more_than_asked():
    x = torch.rand(3, 50, 3) * 0.4 + 0.3
    for seed in range(40):
        y = jitter_colours(x, 0.2, rng(seed))
        for channel, fixed in enumerate((BLACK, GREY, GREY)):
            gain, offset = np.polyfit(x[..., channel].flatten() - fixed, y[..., channel].flatten() - fixed, 1)
            assert abs(gain - 1) <= 0.2 + 1e-4 and abs(offset) <= (0.05 if channel == 0 else 0) + 1e-4
            assert np.allclose(y[..., channel], (x[..., channel] - fixed) * gain + offset + fixed, atol=1e-4)
    assert jitter_colours(x, 0.0, rng()) is x
    assert not torch.equal(jitter_colours(x, 0.2, rng(1)), jitter_colours(x, 0.2, rng(2)))


def test_jittered_values_stay_in_range_and_grey_stays_grey():
    bright = torch.cat(
        [jitter_colours(torch.tensor([[1.2, GREY, GREY], [-0.1, GREY, GREY]]), 0.5, rng(i)) for i in range(9)]
    )
    assert bright.min() == 0 and bright.max() == 1
    assert torch.allclose(bright[:, 1:], torch.tensor(GREY))


def test_fading_keeps_the_means_and_scales_all_else_alike():
    x = torch.rand(3, 40, 3)
    assert fade_contrast(x, 0.0, rng()) is x
    factors = []
    for seed in range(40):
        y = fade_contrast(x, 0.5, rng(seed))
        torch.testing.assert_close(y.mean((0, 1)), x.mean((0, 1)))
        ratio = (y - y.mean((0, 1))).norm() / (x - x.mean((0, 1))).norm()
        torch.testing.assert_close(y - y.mean((0, 1)), (x - x.mean((0, 1))) * ratio, atol=1e-5, rtol=1e-3)
        factors.append(float(ratio))
    faded = [factor for factor in factors if factor < 0.999]
    assert 10 < len(faded) < 30 and min(faded) < 2**-6 and 2**-8 <= min(faded) * 1.01
