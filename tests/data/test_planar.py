"""Planar samples: the right part of the right picture, turned by the paper's rotation, sampled by true footprints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support import one_thread
from torch.utils.data import DataLoader

from deepsphere_codec.data.augment import MIRRORED, random_rotation
from deepsphere_codec.data.planar import (
    PatchOrigin,
    PlanarDataset,
    PlanarSettings,
    angles_of,
    footprint,
    pixels_of,
    reprojection,
)
from deepsphere_codec.errors import UsageError
from deepsphere_codec.sphere import erp_directions

WIDTH, HEIGHT = 256, 128
SIZE = {"height": 128, "width": 256, "rows": 32, "columns": 48}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def compass() -> np.ndarray:
    """One frame, whose Y, Cb, Cr are the direction's components."""
    full, half = erp_directions(HEIGHT, WIDTH), erp_directions(HEIGHT // 2, WIDTH // 2)
    planes = [full[..., 0], half[..., 1], half[..., 2]]
    return np.concatenate([np.rint(128 + 100 * p).astype(np.uint8).ravel() for p in planes]).reshape(1, -1, WIDTH)


def read(x: torch.Tensor) -> np.ndarray:
    """Directions [rows, columns, 3] that a frame [3, rows, columns] of the compass shows."""
    return (x.permute(1, 2, 0).numpy().astype(np.float64) * 255 - 128) / 100


def save(folder: Path, **films: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, film in films.items():
        np.save(folder / f"{name}.npy", film)
    return folder


def dataset(folder: Path, seed: int = 1, **settings) -> PlanarDataset:
    return PlanarDataset(folder, PlanarSettings(**(SIZE | settings)), seed)


@pytest.fixture
def compasses(tmp_path) -> Path:
    return save(tmp_path / "films", film=np.repeat(compass(), 4, 0), photo=compass())


def direction(lon: float, lat: float) -> np.ndarray:
    return np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])


POINTS = [((0.5, 0.3), (-2.0, -1.1)), ((3.0, -1.2), (-3.0, 1.4)), ((0.1, 0.2), (0.1, 0.2)), ((-1.0, 1.5), (2.0, 0.0))]


@pytest.mark.parametrize("source, target", POINTS, ids=str)
def test_the_rotation_takes_source_to_target_and_keeps_meridians(source, target):
    """Eq. (1)-(5): up stays up, along the meridian of the point; nothing is turned about the point itself."""
    r = reprojection(source, target)
    assert np.allclose(r @ r.T, np.eye(3)) and np.linalg.det(r) > 0
    assert np.allclose(r @ direction(*source), direction(*target))
    assert np.allclose(r @ direction(source[0], source[1] + 0.01), direction(target[0], target[1] + 0.01))
    assert angles_of(direction(*source)) == pytest.approx(source)
    if source == target:
        assert np.allclose(r, np.eye(3))


def test_a_sample_is_a_function_of_seed_and_number(compasses):
    first, again, other = (dataset(compasses, seed=seed, frames=2, jitter=0.1, mirror=0.5) for seed in (1, 1, 2))
    forwards = [first[i] for i in range(8)]
    for i in reversed(range(8)):
        sample = again[i]
        assert torch.equal(sample.x, forwards[i].x) and sample.place == forwards[i].place
        assert sample.quality == forwards[i].quality != other[i].quality
        assert not torch.equal(other[i].x, sample.x)
    assert forwards[0].x.shape == (2, 3, 32, 48) and forwards[0].x.dtype == torch.float32


def test_a_patch_is_a_part_of_the_turned_picture(compasses):
    """What it shows at (row, column) is the film's direction there, after the inverse of the paper's rotation."""
    data = dataset(compasses, spin=0.0, spin_degrees=0.0, zoom=1.0)
    picture = erp_directions(HEIGHT, WIDTH)
    rows, columns = set(), set()
    for i in range(20):
        sample = data[i]
        row, column = sample.place
        part = picture[row : row + 32, column : column + 48]
        u, _, v = np.linalg.svd(read(sample.x[0]).reshape(-1, 3).T @ part.reshape(-1, 3))
        turn = u @ v
        assert np.abs(read(sample.x[0]) - part @ turn.T).mean() < 0.01
        middle = direction(2 * math.pi * (column + 24) / 256 - math.pi, math.pi / 2 - math.pi * (row + 16) / 128)
        again = reprojection(angles_of(turn @ middle), angles_of(middle))
        assert np.allclose(again.T, turn, atol=0.02)
        rows.add(row)
        columns.add(column)
        lat = np.pi / 2 - (row + np.arange(32) + 0.5) * np.pi / 128
        assert np.allclose(sample.weights, np.cos(lat), atol=1e-6)
    assert len(rows) > 10 and len(columns) > 10 and max(rows) <= 96 and max(columns) <= 208


def test_a_mirrored_patch_is_mirrored(compasses):
    def determinant(mirror: float) -> float:
        data = dataset(compasses, mirror=mirror, spin=0.0)
        sample = data[3]
        (row, column), picture = sample.place, erp_directions(HEIGHT, WIDTH)
        part = picture[row : row + 32, column : column + 48].reshape(-1, 3)
        turn = read(sample.x[0]).reshape(-1, 3).T @ np.linalg.pinv(part).T
        return float(np.linalg.det(turn))

    assert determinant(0.0) == pytest.approx(1, abs=0.1) and determinant(1.0) == pytest.approx(-1, abs=0.1)


def moving_disc(axis: np.ndarray, degrees: float, frames: int = 3) -> np.ndarray:
    """Waves that stand still but for a disc in which they turn about the vertical axis."""
    d, phases = erp_directions(HEIGHT, WIDTH), np.arange(12)
    frequencies = 20 * np.random.default_rng(3).normal(size=(12, 3))
    inside = d @ axis > math.cos(math.radians(degrees))
    found = []
    for t in range(frames):
        c, s = math.cos(0.02 * t), math.sin(0.02 * t)
        turned = np.where(inside[..., None], d @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), d)
        luma = np.clip(128 + 22 * np.sin(turned @ frequencies.T + phases).sum(-1), 0, 255)
        found.append(np.concatenate([luma, np.full((HEIGHT // 2, WIDTH), 128)]))
    return np.rint(np.stack(found)).astype(np.uint8)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_a_guided_patch_has_motion_in_its_middle_and_a_still_film_is_seen_anywhere(tmp_path, mirror):
    axis = direction(-2.0, 0.4)
    folder = save(tmp_path / "disc", film=moving_disc(axis, 15))
    shared = {"frames": 3, "spin": 0.0, "mirror": mirror}

    def moving_middles(guided: float) -> float:
        data = dataset(folder, guided=guided, **shared)
        lumas = (data[i].x[:, 0, 8:24, 16:32] for i in range(24))
        return float(np.mean([float((x[2] - x[0]).abs().mean()) > 0.01 for x in lumas]))

    assert moving_middles(1.0) > 0.85 and moving_middles(0.0) < 0.3
    still = save(tmp_path / "still", film=np.repeat(compass(), 3, 0))
    guided, anyhow = (dataset(still, guided=share, **shared) for share in (1.0, 0.0))
    assert all(torch.equal(guided[i].x, anyhow[i].x) for i in range(4))


def test_footprints_are_those_of_the_pixels():
    """Against differences of the directions between pixels, seen in the source's own east and north."""
    s = PlanarSettings(512, 1024, 64, 48)
    place = PatchOrigin(40, 700)
    for turn in (
        np.eye(3),
        random_rotation(np.random.default_rng(2)),
        MIRRORED @ random_rotation(np.random.default_rng(5)),
    ):
        pixels = pixels_of(s, place)
        seen = (pixels.directions @ turn.T).reshape(64, 48, 3)
        steps = np.stack([np.gradient(seen, axis=1), np.gradient(seen, axis=0)])[:, 1:-1, 1:-1]
        d = seen[1:-1, 1:-1]
        east = np.cross([0, 0, 1.0], d)
        east /= np.linalg.norm(east, axis=-1, keepdims=True)
        truth = np.stack([np.hypot(*(steps * axis).sum(-1)) for axis in (east, np.cross(d, east))], -1)
        found = footprint(pixels, turn).reshape(64, 48, 2)[1:-1, 1:-1]
        assert np.allclose(found, truth, rtol=0.01, atol=1e-5)


def test_a_small_picture_of_a_fine_pattern_is_grey(tmp_path):
    """A quarter of the size, and waves of three pixels; four times as large, they are all there."""
    d = erp_directions(256, 512)
    wave = 128 + 100 * np.sin(170 * np.arcsin(d[..., 2]))
    film = np.rint(np.concatenate([wave, np.full((128, 512), 128)]))[None].astype(np.uint8)
    folder = save(tmp_path, photo=film)

    def contrast(height: int, rows: int) -> float:
        data = dataset(folder, height=height, width=2 * height, rows=rows, columns=rows, spin_degrees=0.0, zoom=1.0)
        return float(np.mean([float(data[i].x[0, 0].std()) for i in range(8)])) * 255 / (100 / math.sqrt(2))

    assert contrast(64, 16) < 0.1 and contrast(512, 32) > 0.8


def test_a_loader_makes_batches(compasses):
    batch = next(iter(DataLoader(dataset(compasses, frames=2), batch_size=3, sampler=range(3))))
    assert batch.x.shape == (3, 2, 3, 32, 48) and batch.weights.shape == (3, 32)
    assert batch.place.row.shape == batch.place.column.shape == batch.quality.shape == (3,)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rows": 600}, "data.rows x data.columns is 600 x 256: expected at most .* 512 x 1024"),
        ({"columns": 1100}, "data.rows x data.columns is 256 x 1100: expected at most .* 512 x 1024"),
        *(({size: 0}, f"data.{size} is 0: expected greater than 0") for size in ("height", "width", "rows", "columns")),
        ({"frames": 0}, "data.frames is 0: expected greater than 0"),
        ({"gap": 0}, "data.gap is 0: expected greater than 0"),
        ({"spin": -0.5}, "data.spin is -0.5: expected greater than or equal to 0"),
        ({"spin_degrees": -1.0}, "data.spin_degrees is -1.0: expected greater than or equal to 0"),
        ({"guided": 1.5}, "data.guided is 1.5: expected less than or equal to 1"),
        ({"zoom": 0.9}, "data.zoom is 0.9: expected greater than or equal to 1"),
        ({"spin_change": -0.1}, "data.spin_change is -0.1: expected greater than or equal to 0"),
        ({"jitter": 1.0}, "data.jitter is 1.0: expected less than 1"),
        ({"mirror": 1.5}, "data.mirror is 1.5: expected less than or equal to 1"),
        ({"fade": 2.0}, "data.fade is 2.0: expected less than or equal to 1"),
        ({"reprojected": 0}, "data.reprojected is 0: expected a valid boolean"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        PlanarSettings(**wrong)


def test_a_folder_without_anything_to_draw_from_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no prepared film of 3 frames"):
        dataset(tmp_path, frames=3)
