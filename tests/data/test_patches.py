"""Training samples: the same each time, at the right place of the right film, over the seam and at the poles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support import one_thread

from deepsphere_codec.data.patches import (
    PatchDataset,
    PatchSettings,
    random_block,
    random_rotation,
    sample_film,
    small_rotation,
)
from deepsphere_codec.errors import UsageError
from deepsphere_codec.sphere import erp_directions
from deepsphere_codec.sphere.patch import PatchGrid

WIDTH, HEIGHT = 256, 128


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def paint(*planes) -> np.ndarray:
    """One frame [1, 3/2 height, width]: Y, Cb, Cr are functions of direction, in grey levels."""
    full, half = erp_directions(HEIGHT, WIDTH), erp_directions(HEIGHT // 2, WIDTH // 2)
    values = [np.rint(plane(half if i else full)).astype(np.uint8).reshape(-1) for i, plane in enumerate(planes)]
    return np.concatenate(values).reshape(1, -1, WIDTH)


def compass() -> np.ndarray:
    """The direction itself, in three channels: what is sampled tells where it was sampled."""
    return paint(*(lambda d, i=i: 128 + 100 * d[..., i] for i in range(3)))


def read_compass(x: torch.Tensor) -> np.ndarray:
    return (x.numpy().astype(np.float64) * 255 - 128) / 100


def around(axis: tuple[float, float, float], radius: float, n: int = 500) -> np.ndarray:
    """Directions within a radius (radians) of an axis."""
    rng = np.random.default_rng(5)
    d = np.array(axis) + radius / 2 * rng.uniform(-1, 1, (n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


PLACES = {"anywhere": None, "front": (1, 0, 0), "seam": (-1, 0, 0), "north": (0, 0, 1), "south": (0, 0, -1)}


@pytest.mark.parametrize("place", PLACES)
def test_a_picture_is_recovered_in_any_direction(place):
    """Rounding is 0.5 levels; at the poles the picture ends, half a pixel early (1.2 levels of luma, 2.5 of chroma)."""
    axis = PLACES[place]
    directions = np.random.default_rng(5).normal(size=(2000, 3)) if axis is None else around(axis, 0.2)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = read_compass(sample_film(compass(), directions[None]))[0]
    error = 100 * np.abs(found - directions)
    polar = np.abs(directions[:, 2]) > 0.99
    assert error[~polar].max(initial=0) < 0.9
    assert error[polar, 0].max(initial=0) < 2 and error[polar].max(initial=0) < 3.2
    assert error.mean() < 0.5


def test_a_fine_pattern_is_where_it_belongs():
    """Ten waves around the equator and five along a meridian: half a pixel's shift would show."""
    film = paint(
        lambda d: 128 + 100 * np.sin(10 * np.arctan2(d[..., 1], d[..., 0])),
        lambda d: 128 + 100 * np.sin(10 * np.arcsin(d[..., 2])),
        lambda d: 128 + 100 * np.sin(10 * np.arctan2(d[..., 1], d[..., 0])),
    )
    d = around((-1, 0, 0), 1.0, 2000)
    found = read_compass(sample_film(film, d[None]))[0]
    lon, lat = 10 * np.arctan2(d[:, 1], d[:, 0]), 10 * np.arcsin(d[:, 2])
    error = np.abs(found - np.sin(np.stack([lon, lat, lon], 1)))
    assert error[:, 0].max() < 0.02 and error.max() < 0.04  # a pixel of luma is 0.25 rad of the wave


def test_frames_are_sampled_each_in_its_own_directions():
    film = np.concatenate([compass(), 255 - compass()])
    directions = np.stack([around((1, 0, 0), 0.5), around((0, 1, 0), 0.5)])
    x = sample_film(film, directions)
    assert x.shape == (2, 500, 3) and x.dtype == torch.float32
    assert torch.allclose(x[0], sample_film(film[:1], directions[:1])[0])
    assert torch.allclose(1 - x[1], sample_film(compass(), directions[1:])[0], atol=1e-5)


@pytest.mark.parametrize("nside, side", [(256, 128), (128, 64), (64, 64), (192, 64)])
def test_blocks_lie_anywhere_on_the_raster(nside, side):
    blocks = {random_block(nside, side, [1, step]) for step in range(1500)}
    assert all(block.x0 % 64 == block.y0 % 64 == 0 and block.side == side for block in blocks)
    assert len(blocks) == 12 * ((nside - side) // 64 + 1) ** 2, "and every place is reached"


def test_rotations_are_uniform():
    turns = np.stack([random_rotation(np.random.default_rng(i)) for i in range(2000)])
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1)
    assert np.abs(turns.mean(0)).max() < 0.05 and np.abs((turns**2).mean(0) - 1 / 3).max() < 0.03
    assert abs(np.trace(turns, axis1=1, axis2=2).mean()) < 0.1


def angle(rotation: np.ndarray) -> float:
    return math.degrees(math.acos(min(1.0, (np.trace(rotation) - 1) / 2)))


def test_small_rotations_are_small_and_of_every_size_up_to_the_limit():
    turns = [small_rotation(np.random.default_rng(i), 3.0) for i in range(500)]
    angles = np.array([angle(turn) for turn in turns])
    assert all(np.allclose(turn @ turn.T, np.eye(3), atol=1e-10) for turn in turns)
    assert angles.max() <= 3 + 1e-6 and angles.max() > 2.9 and np.mean(angles) == pytest.approx(1.5, abs=0.15)


def save(folder: Path, **films: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, film in films.items():
        np.save(folder / f"{name}.npy", film)
    return folder


def numbered(frames: int) -> np.ndarray:
    """Frame n is grey, of level 10 n + 20."""
    return np.stack([np.full((48, 64), 10 * n + 20, np.uint8) for n in range(frames)])


def dataset(folder: Path, batch: int = 2, relocate: int = 3, seed: int = 1, **settings) -> PatchDataset:
    return PatchDataset(folder, PatchSettings(nside=128, side=64, **settings), batch, relocate, seed)


@pytest.fixture
def compasses(tmp_path) -> Path:
    """A film that stands still, and a panorama."""
    return save(tmp_path / "films", film=np.repeat(compass(), 4, 0), photo=compass())


def test_a_sample_is_a_function_of_seed_and_number(compasses):
    first, again, other = (dataset(compasses, seed=seed, frames=2, spin=0.5) for seed in (1, 1, 2))
    forwards = [first[i] for i in range(12)]
    for i in reversed(range(12)):
        x, quality = again[i]
        assert torch.equal(x, forwards[i][0]) and quality == forwards[i][1]
        assert not torch.equal(other[i][0], x) and other[i][1] != quality
    assert len({quality for _, quality in forwards}) == 12
    assert forwards[0][0].shape == (2, 64 * 64, 3)


def test_values_and_qualities_are_in_range(tmp_path):
    rng = np.random.default_rng(3)
    samples = [dataset(save(tmp_path, noise=rng.integers(0, 256, (3, 48, 64), np.uint8)))[i] for i in range(40)]
    x = torch.stack([x for x, _ in samples])
    assert x.min() > -0.5 and x.max() < 1.5 and x.std() > 0.1, "a cubic overshoots a little"
    qualities = np.array([quality for _, quality in samples])
    assert qualities.min() >= 1 and qualities.max() <= 8 and np.ptp(qualities) > 5


def rotation_of(frame: torch.Tensor, block: PatchGrid) -> np.ndarray:
    """The camera's turn R: what node p shows lies in the direction R p of the film."""
    seen = read_compass(frame)
    u, _, v = np.linalg.svd(seen.T @ block.centers)
    rotation = u @ v
    assert np.linalg.det(rotation) > 0, "turned, not mirrored"
    assert np.abs(seen - block.centers @ rotation.T).mean() < 0.01
    return rotation


def test_the_block_seen_is_the_steps(compasses):
    """Samples of `relocate` steps share a block; each is turned on its own."""
    data = dataset(compasses)
    blocks = [data.block(step) for step in range(30)]
    assert all(blocks[step] == blocks[step - step % 3] for step in range(30)) and len(set(blocks)) > 3
    turns = [rotation_of(data[i][0][0], blocks[i // 2]) for i in range(12)]  # a batch is two samples
    assert min(angle(a.T @ b) for a, b in zip(turns, turns[1:], strict=False)) > 1


@pytest.mark.parametrize("degrees", [1.0, 5.0])
def test_a_spinning_camera_turns_by_the_same_rotation_each_frame(compasses, degrees):
    data = dataset(compasses, frames=4, spin=1.0, spin_degrees=degrees)
    angles = []
    for i in range(8):
        turns = [rotation_of(frame, data.block(i // 2)) for frame in data[i][0]]
        steps = [b @ a.T for a, b in zip(turns, turns[1:], strict=False)]
        angles.append(angle(steps[0]))
        assert all(np.allclose(step, steps[0], atol=0.005) for step in steps)
    assert max(angles) <= degrees + 0.3 and max(angles) > degrees / 2


def test_films_do_not_turn_without_spin_but_panoramas_always_do(tmp_path):
    film, photo = save(tmp_path / "a", film=np.repeat(compass(), 3, 0)), save(tmp_path / "b", photo=compass())

    def moving(folder: Path) -> float:
        data = dataset(folder, frames=3, spin=0.0, spin_degrees=4.0)
        return float(np.mean([float((x[1:] - x[:1]).abs().max()) > 1e-3 for x, _ in (data[i] for i in range(12))]))

    assert moving(film) == 0
    assert moving(photo) > 0.8  # by any angle up to the limit, hence now and then by next to none


def test_the_share_of_spinning_cameras(tmp_path):
    data = dataset(save(tmp_path, film=np.repeat(compass(), 2, 0)), frames=2, spin=0.25, spin_degrees=5.0)
    share = np.mean([not torch.equal(x[0], x[1]) for x, _ in (data[i] for i in range(120))])
    assert 0.12 < share < 0.4


def test_frames_follow_one_another_forwards_or_backwards_from_anywhere(tmp_path):
    data = dataset(save(tmp_path, film=numbered(9)), frames=3, spin=0.0)
    levels = [tuple(((x[:, 0, 0] * 255 - 20) / 10).round().int().tolist()) for x, _ in (data[i] for i in range(150))]
    assert all(step == (a, a + 1, a + 2) or step == (a, a - 1, a - 2) for step in levels for a in [step[0]])
    assert {step[0] for step in levels if step[1] > step[0]} == set(range(7))
    assert {step[0] for step in levels if step[1] < step[0]} == set(range(2, 9))


def test_every_film_is_used(tmp_path):
    films = {f"film{n}": np.full((2, 48, 64), 40 * n, np.uint8) for n in range(5)}
    data = dataset(save(tmp_path, **films))
    assert {round(float(data[i][0].mean()) * 255 / 40) for i in range(60)} == set(range(5))


def test_films_too_short_are_left_out_and_panoramas_thinned(tmp_path):
    """Chains need movement: at most about one panorama for every six films stays."""
    films = {f"film{n:02}": numbered(4) for n in range(6)} | {"short": numbered(2)}
    photos = {f"photo{n:02}": np.full((1, 48, 64), 200, np.uint8) for n in range(12)}
    folder = save(tmp_path, **films, **photos)
    assert sorted(len(film) for film in dataset(folder, frames=3).films) == [1, *[4] * 6]
    assert len(dataset(folder, frames=1).films) == 19


@pytest.mark.parametrize("films", [{}, {"short": numbered(2)}])
def test_a_folder_without_anything_to_draw_from_is_refused(tmp_path, films):
    with pytest.raises(UsageError, match="holds no prepared film of 3 frames"):
        dataset(save(tmp_path, **films), frames=3)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"side": 100}, "data.side is 100, data.nside 256: expected multiples of 64"),
        ({"nside": 200}, "data.nside 200: expected multiples of 64"),
        ({"nside": 64, "side": 128}, "side <= nside"),
        ({"side": 0}, "data.side is 0"),
        ({"frames": 0}, "data.frames must be at least 1"),
        ({"spin": 1.5}, "data.spin in 0..1"),
        ({"spin_degrees": -1.0}, "data.spin_degrees at least 0"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        PatchSettings(**wrong)
