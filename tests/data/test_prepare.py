"""Films become arrays that `sample_film` takes, once; a bad file is named and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import make_film

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import open_video


@pytest.fixture(autouse=True)
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def test_a_film_keeps_its_samples(tmp_path: Path) -> None:
    film = make_film(tmp_path / "films" / "a.mkv", width=128, height=64, frames=5)
    assert prepare_films(tmp_path / "films", tmp_path / "out", frames=3) == []
    prepared = np.load(tmp_path / "out" / "a.npy")
    assert prepared.shape == (3, 96, 128) and prepared.dtype == np.uint8
    with open_video(film) as reader:
        for packed, frame in zip(prepared, reader, strict=False):
            planes = np.split(packed.reshape(-1), [64 * 128, 64 * 128 + 32 * 64])
            pairs = zip(planes, frame, strict=True)
            assert all(np.array_equal(plane, source.reshape(-1)) for plane, source in pairs)


def test_large_pictures_are_averaged_down(tmp_path: Path) -> None:
    film = make_film(tmp_path / "films" / "a.mkv", width=128, height=64, frames=1)
    prepare_films(tmp_path / "films", tmp_path / "out", width=64)
    luma = np.load(tmp_path / "out" / "a.npy")[0].reshape(-1)[: 32 * 64].reshape(32, 64)
    with open_video(film) as reader:
        mean = next(reader).y.reshape(32, 2, 64, 2).mean((1, 3))
    assert np.abs(luma - mean).max() <= 0.5


def test_a_second_time_nothing_is_read(tmp_path: Path) -> None:
    film = make_film(tmp_path / "films" / "a.mkv", width=128, height=64, frames=2)
    prepare_films(tmp_path / "films", tmp_path / "out")
    before = (tmp_path / "out" / "a.npy").stat().st_mtime_ns
    film.write_bytes(b"no longer a film")
    calls: list[tuple[int, int | None]] = []
    assert prepare_films(tmp_path / "films", tmp_path / "out", on_progress=lambda *each: calls.append(each)) == []
    assert calls == [(1, 1)] and (tmp_path / "out" / "a.npy").stat().st_mtime_ns == before


def test_a_bad_file_is_named_and_left_out(tmp_path: Path) -> None:
    make_film(tmp_path / "films" / "good.mkv", width=128, height=64, frames=2)
    (tmp_path / "films" / "bad.mp4").write_bytes(b"not a film")
    (line,) = prepare_films(tmp_path / "films", tmp_path / "out")
    assert "bad.mp4" in line and [p.name for p in (tmp_path / "out").iterdir()] == ["good.npy"]


@pytest.mark.parametrize("folder", ["films", "absent"])
def test_no_films_are_a_usage_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="holds no films"):
        prepare_films(tmp_path / folder, tmp_path / "out")
