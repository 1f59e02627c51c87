"""Films to train on where there is none: each a pure function of its number, ready to sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_uniform

from deepsphere_codec.data import generated
from deepsphere_codec.data.generated import generate_films
from deepsphere_codec.data.patches import PatchDataset, PatchSettings
from deepsphere_codec.video import YuvFrame


def read(folder) -> list[np.ndarray]:
    return [np.load(path) for path in sorted(folder.glob("*.npy"))]


def test_films_differ_and_come_again_alike(tmp_path):
    told = []
    generate_films(tmp_path / "a", films=3, frames=2, width=64, on_progress=lambda *now: told.append(now))
    generate_films(tmp_path / "b", films=2, frames=2, width=64)
    generate_films(tmp_path / "c", films=1, frames=2, width=64, seed=1)
    a, b, c = (read(tmp_path / name) for name in "abc")
    assert told == [(1, 3), (2, 3), (3, 3)] and [film.shape for film in a] == [(2, 48, 64)] * 3
    assert all(np.array_equal(one, other) for one, other in zip(a, b, strict=False))
    assert not np.array_equal(a[0], a[1]) and not np.array_equal(a[0], c[0])


def test_what_is_there_stays(tmp_path):
    generate_films(tmp_path, films=1, frames=1, width=64)
    np.save(tmp_path / "generated_00.npy", np.zeros((1, 48, 64), np.uint8))
    generate_films(tmp_path, films=2, frames=1, width=64)
    first, second = read(tmp_path)
    assert not first.any() and second.any()


def test_samples_are_drawn_from_them(tmp_path):
    generate_films(tmp_path, films=1, frames=3, width=128)
    x, quality, _ = PatchDataset(tmp_path, PatchSettings(64, 64, 2), 1, 1, 0)[0]
    assert x.shape == (2, 64 * 64, 3) and 1 <= quality <= 8
    assert x[..., 0].std() > 0.02 and torch.isfinite(x).all()


def test_cameras_turn_about_axes_uniform_on_the_sphere(monkeypatch):
    axes, degrees = [], []

    def note(width, height, frames, seed, degrees_per_frame, axis):
        axes.append(axis)
        degrees.append(degrees_per_frame)
        return iter([YuvFrame(*(np.zeros(shape, np.uint8) for shape in ((2, 4), (1, 2), (1, 2))))])

    monkeypatch.setattr(generated, "synthetic_film", note)
    for number in range(3000):
        generated._film(np.random.default_rng(number), 1, 4)
    assert_uniform(np.array(axes))
    assert np.mean(np.equal(degrees, 0)) == pytest.approx(1 / 3, abs=0.04)
    assert max(degrees) == pytest.approx(generated.FASTEST_DEGREES, rel=0.02)
