"""Films become arrays that `sample_film` takes, once, whatever a run before left behind; a bad file is named."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import files_no_larger_than, make_film, make_frame, write_y4m

from deepsphere_codec.data.prepare import prepare_films
from deepsphere_codec.data.record import ClipSettings, Stereo
from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video


class Killed(BaseException):
    """What no `except Exception` catches."""


@pytest.fixture(autouse=True)
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def packed(frames: Iterator[YuvFrame]) -> np.ndarray:
    """[frames, 3/2 height, width]"""
    return np.stack([np.concatenate([p.reshape(-1) for p in f]).reshape(-1, f.y.shape[1]) for f in frames])


def frames_of(film: Path) -> np.ndarray:
    with open_video(film) as reader:
        return packed(reader)


def names_in(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def clips_in(out: Path) -> set[str]:
    """Names without the ending; nothing else but the record may be there."""
    assert names_in(out) - {"prepared.json"} == {path.name for path in out.glob("*.npy")}
    return {path.stem for path in out.glob("*.npy")}


def write_photo(path: Path, width: int = 64) -> Path:
    Image.fromarray(np.full((width // 2, width, 3), 90, np.uint8)).save(path)
    return path


# A film


def test_a_film_keeps_its_samples(films: Path, out: Path) -> None:
    film = make_film(films / "a.mkv", width=128, height=64, frames=5)
    assert prepare_films(films, out, frames=3) == []
    prepared = np.load(out / "a.npy", mmap_mode="r")
    assert prepared.shape == (3, 96, 128) and prepared.dtype == np.uint8
    assert np.array_equal(prepared, frames_of(film)[:3])


def test_large_pictures_are_averaged_down(films: Path, out: Path) -> None:
    film = make_film(films / "a.mkv", width=128, height=64, frames=1)
    prepare_films(films, out, width=64)
    luma = np.load(out / "a.npy")[0].reshape(-1)[: 32 * 64].reshape(32, 64)
    with open_video(film) as reader:
        mean = next(reader).y.reshape(32, 2, 64, 2).mean((1, 3))
    assert np.abs(luma - mean).max() <= 0.5


def test_a_film_that_is_not_2_to_1_is_brought_there_where_that_is_asked_for(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", width=64, height=64, frames=1)
    (line,) = prepare_films(films, out)
    assert "64x64" in line and clips_in(out) == set()
    assert prepare_films(films, out, assume_erp=True) == []
    luma = np.load(out / "a.npy")[0].reshape(-1)[: 32 * 64].reshape(32, 64)
    assert np.abs(luma - make_frame(64, 64).y.reshape(32, 2, 64).mean(1)).max() <= 0.5


def test_memory_is_that_of_a_few_pictures(films: Path, out: Path) -> None:
    for name, frames in (("a_warm", 2), ("b_long", 400)):
        write_y4m(films / f"{name}.y4m", 128, 64, frames)
    peaks = []
    tracemalloc.start()

    def peak(done: int, total: int | None) -> None:
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

    try:
        prepare_films(films, out, frames=400, on_progress=peak)
    finally:
        tracemalloc.stop()
    array = np.load(out / "b_long.npy", mmap_mode="r")
    assert len(array) == 400 and peaks[1] < peaks[0] + array.nbytes / 10


def test_a_folder_of_numbered_pictures_is_a_film_and_others_are_photos(films: Path, out: Path) -> None:
    folder = make_film(films / "walk", frames=4)
    (films / "places").mkdir()
    for name in ("park.png", "street2.png", "8.png", "._park.png"):
        write_photo(films / "places" / name)
    write_photo(films / "coast.jpg")
    assert prepare_films(films, out, frames=3) == []
    assert clips_in(out) == {"walk", "photo_park", "photo_street2", "photo_8", "photo_coast"}
    assert np.array_equal(np.load(out / "walk.npy"), frames_of(folder)[:3])
    assert np.load(out / "photo_park.npy").shape == (1, 48, 64)
    (folder / "000002.png").unlink()  # what is left are pictures with a gap: no film that moves evenly
    prepare_films(folder, out.with_name("gap"))
    assert clips_in(out.with_name("gap")) == {"photo_000000", "photo_000001", "photo_000003"}


# Several clips of a film


@pytest.mark.parametrize(("stride", "first"), [(None, [0, 3, 6]), (4, [0, 4]), (5, [0, 5])])
def test_long_films_yield_several_clips(films: Path, out: Path, stride: int | None, first: list[int]) -> None:
    source = frames_of(make_film(films / "a.mkv", frames=10))
    assert prepare_films(films, out, frames=3, clips_per_film=4, stride=stride) == []
    assert clips_in(out) == {f"a_{number:03d}" for number in range(len(first))}
    for number, start in enumerate(first):
        assert np.array_equal(np.load(out / f"a_{number:03d}.npy"), source[start : start + 3])


def test_no_more_clips_are_made_than_asked_for_and_a_short_film_is_one(films: Path, out: Path) -> None:
    make_film(films / "long.mkv", frames=10)
    make_film(films / "short.mkv", frames=2)
    write_photo(films / "coast.jpg")
    prepare_films(films, out, frames=3, clips_per_film=2)
    assert clips_in(out) == {"long_000", "long_001", "short_000", "photo_coast"}
    assert len(np.load(out / "short_000.npy")) == 2


# Two eyes


@pytest.mark.parametrize(("stereo", "axis"), [("top-bottom", 0), ("side-by-side", 1)])
def test_stereo_films_are_split(films: Path, out: Path, stereo: Stereo, axis: int) -> None:
    eyes = [[make_frame(64, 32, number + 9 * right) for number in range(5)] for right in (0, 1)]
    pairs = [zip(*pair, strict=True) for pair in zip(*eyes, strict=True)]
    both = [YuvFrame(*(np.concatenate(planes, axis) for planes in pair)) for pair in pairs]
    height, width = both[0].y.shape
    with create_video(films / "a.mkv", VideoInfo(width, height, Fraction(25), None, False, "bt709")) as writer:
        for frame in both:
            writer.write(frame)
    write_photo(films / "coast.jpg")
    assert prepare_films(films, out, frames=2, clips_per_film=2, stereo=stereo) == []
    assert clips_in(out) == {"a_L_000", "a_R_000", "a_L_001", "a_R_001", "photo_coast"}
    for eye, source in zip("LR", eyes, strict=True):
        for number in (0, 1):
            frames = packed(iter(source[2 * number : 2 * number + 2]))
            assert np.array_equal(np.load(out / f"a_{eye}_{number:03d}.npy"), frames)


def test_squeezed_eyes_become_2_to_1(films: Path, out: Path) -> None:
    source = frames_of(make_film(films / "a.mkv", frames=1))[0].reshape(-1)
    prepare_films(films, out, stereo="top-bottom")
    lower = np.load(out / "a_R.npy")[0].reshape(-1)
    assert np.array_equal(lower[: 32 * 64].reshape(32, 64)[::2], source[: 32 * 64].reshape(32, 64)[16:])
    assert clips_in(out) == {"a_L", "a_R"}


def test_a_film_whose_halves_are_odd_is_left_out(films: Path, out: Path) -> None:
    write_y4m(films / "a.y4m", 64, 34, 1)
    (line,) = prepare_films(films, out, stereo="top-bottom")
    assert "64x34" in line and "multiple of 4" in line and clips_in(out) == set()


def test_a_film_is_not_there_both_whole_and_split(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    prepare_films(films, out)
    (line,) = prepare_films(films, out, stereo="top-bottom")
    assert "with stereo none" in line and clips_in(out) == {"a"}


# Names


def test_films_of_one_name_are_called_after_their_folders(films: Path, out: Path) -> None:
    widths = {"in/a.mkv": 32, "out/a.mkv": 64, "out/b.mkv": 96, "a.y4m": 128, "out/a.jpg": 160}
    (films / "in").mkdir()
    (films / "out").mkdir()
    for name, width in widths.items():
        if name.endswith("jpg"):
            write_photo(films / name, width)
        else:
            make_film(films / name, width=width, height=width // 2, frames=1)
    assert prepare_films(films, out) == []
    found = {path.stem: np.load(path).shape[2] for path in out.glob("*.npy")}
    assert found == {"films_in_a": 32, "films_out_a": 64, "b": 96, "films_a": 128, "photo_a": 160}


def test_two_endings_in_one_folder_are_numbered(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    make_film(films / "a.y4m", frames=2)
    prepare_films(films, out)
    assert {path.stem: len(np.load(path)) for path in out.glob("*.npy")} == {"films_a": 1, "films_a_2": 2}


def test_a_name_stays_with_its_film_in_later_runs_and_places(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    prepare_films(films, out)
    others = films.with_name("others")
    others.mkdir()
    make_film(others / "a.mkv", frames=2)
    assert prepare_films(others, out) == []
    expected = {"a": 1, "others_a": 2}
    assert {path.stem: len(np.load(path)) for path in out.glob("*.npy")} == expected
    moved = films.with_name("elsewhere") / "films"
    shutil.copytree(films, moved)
    prepare_films([others, moved, moved], out)
    assert clips_in(out) == set(expected)


def test_eyes_do_not_overwrite_films_of_their_name(films: Path, out: Path) -> None:
    make_film(films / "a_L.mkv", frames=1)
    prepare_films(films, out)
    stereo = films.with_name("stereo")
    stereo.mkdir()
    make_film(stereo / "a.mkv", frames=2)
    prepare_films(stereo, out, stereo="top-bottom")
    assert clips_in(out) == {"a_L", "stereo_a_L", "stereo_a_R"} and len(np.load(out / "a_L.npy")) == 1


def test_two_folders_that_cannot_be_told_apart_are_a_usage_error(films: Path, out: Path) -> None:
    twin = films.with_name("twin") / "films"
    twin.mkdir(parents=True)
    for folder in (films, twin):
        make_film(folder / "a.mkv", frames=1)
    with pytest.raises(UsageError, match="two films films/a.mkv"):
        prepare_films([films, twin], out)


# Again


def test_a_second_time_nothing_is_read(films: Path, out: Path) -> None:
    film = make_film(films / "a.mkv", frames=2)
    prepare_films(films, out)
    before = {name: (out / name).stat().st_mtime_ns for name in names_in(out)}
    film.write_bytes(b"no longer a film")
    calls: list[tuple[int, int | None]] = []
    assert prepare_films(films, out, on_progress=lambda *each: calls.append(each)) == []
    assert calls == [(1, 1)] and {name: (out / name).stat().st_mtime_ns for name in names_in(out)} == before


def test_an_interrupted_run_is_gone_on_with(films: Path, out: Path) -> None:
    for name in "ab":
        make_film(films / f"{name}.mkv", frames=1)

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_films(films, out, on_progress=interrupt)
    assert clips_in(out) == {"a"}
    prepare_films(films, out)
    assert clips_in(out) == {"a", "b"}


def test_a_film_that_was_broken_off_between_its_clips_is_made_whole(
    films: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_film(films / "a.mkv", frames=4)
    replace = os.replace

    def kill(source: Path, target: Path) -> None:
        if target.name == "a_000.npy":
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        prepare_films(films, out, frames=2, clips_per_film=2)
    assert clips_in(out) == {"a_001"}
    prepare_films(films, out, frames=2, clips_per_film=2)
    assert clips_in(out) == {"a_000", "a_001"}


def test_what_a_killed_run_left_goes(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    (out / ".unfinished").mkdir(parents=True)
    (out / ".unfinished" / "a.npy").write_bytes(b"half")
    (out / ".a.npy.4711").write_bytes(b"half, of an earlier version")
    prepare_films(films, out)
    assert clips_in(out) == {"a"} and len(np.load(out / "a.npy")) == 1


@pytest.mark.parametrize("where", ["in a write", "at the end"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    films: Path, out: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, frames in (("a", 2), ("b", 40), ("c", 2)):
        make_film(films / f"{name}.mkv", frames=frames)
    with monkeypatch.context() as patch, pytest.raises(UsageError, match="make room") as raised:
        if where == "in a write":
            with files_no_larger_than(20_000):
                prepare_films(films, out)
        else:
            sync = os.fsync

            def full(descriptor: int) -> None:
                if os.fstat(descriptor).st_size > 20_000:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                sync(descriptor)

            patch.setattr(os, "fsync", full)
            prepare_films(films, out)
    assert "\n" not in str(raised.value) and clips_in(out) == {"a"}
    assert prepare_films(films, out) == [] and clips_in(out) == {"a", "b", "c"}


def test_two_runs_at_once_are_a_usage_error(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    out.mkdir()
    (out / ".unfinished").mkdir()
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        with pytest.raises(UsageError, match="by another run"):
            prepare_films(films, out)
    finally:
        os.close(folder)
    assert names_in(out) == {".unfinished"}  # which is the other run's
    assert prepare_films(films, out) == [] and clips_in(out) == {"a"}


# Other settings


@pytest.mark.parametrize("other", [{"frames": 3}, {"width": 32}, {"clips_per_film": 2}])
def test_clips_of_other_settings_do_not_mix(films: Path, out: Path, other: dict[str, Any]) -> None:
    make_film(films / "a.mkv", frames=4)
    prepare_films(films, out)
    make_film(films / "b.mkv", frames=4)
    ((key, value),) = other.items()
    with pytest.raises(UsageError, match=rf"{key} \d+, not {value}.*choose another folder"):
        prepare_films(films, out, **other)
    assert clips_in(out) == {"a"}
    (out / "a.npy").unlink()  # with no clips there, nothing mixes
    assert prepare_films(films, out, **other) == []


def test_a_folder_without_a_record_is_gone_on_with(films: Path, out: Path) -> None:
    for name in "ab":
        make_film(films / f"{name}.mkv", frames=4)
    out.mkdir()
    np.save(out / "a.npy", np.zeros((2, 48, 64), np.uint8))
    for frames in (3, 4):
        assert prepare_films(films, out, frames=frames) == []
    assert names_in(out) == {"a.npy", "b.npy"}
    assert [len(np.load(out / f"{name}.npy")) for name in "ab"] == [2, 3]


@pytest.mark.parametrize("record", ["{", "[]", '{"settings": {}, "films": {}}'])
def test_a_damaged_record_is_a_usage_error(films: Path, out: Path, record: str) -> None:
    make_film(films / "a.mkv", frames=1)
    prepare_films(films, out)
    assert set(json.loads((out / "prepared.json").read_text())) == {"settings", "films"}
    (out / "prepared.json").write_text(record)
    with pytest.raises(UsageError, match="prepared.json cannot be read; delete it"):
        prepare_films(films, out)


# What cannot be


def test_a_bad_file_is_named_and_left_out(films: Path, out: Path) -> None:
    make_film(films / "good.mkv", frames=2)
    (films / "bad.mp4").write_bytes(b"not a film")
    (line,) = prepare_films(films, out)
    assert "bad.mp4" in line and "\n" not in line and clips_in(out) == {"good"}


def test_a_film_that_breaks_off_while_it_is_written_leaves_nothing(films: Path, out: Path) -> None:
    folder = make_film(films / "walk", frames=4)
    (folder / "000002.png").write_bytes(b"not a picture")
    (line,) = prepare_films(films, out)
    assert "000002.png" in line and clips_in(out) == set()


@pytest.mark.parametrize("folder", ["films", "absent"])
def test_no_films_are_a_usage_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="holds no films"):
        prepare_films(tmp_path / folder, tmp_path / "out")


def test_an_output_that_is_a_file_is_a_usage_error(films: Path, out: Path) -> None:
    make_film(films / "a.mkv", frames=1)
    out.write_text("a file")
    with pytest.raises(UsageError, match="out cannot be written: file exists"):
        prepare_films(films, out)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "at least 1"),
        ({"clips_per_film": 0}, "at least 1"),
        ({"width": 6}, "multiple of 4"),
        ({"frames": 9, "clips_per_film": 2, "stride": 8}, "at least a clip's 9 frames"),
        ({"frames": 9, "stride": 9}, "at least 2"),
    ],
)
def test_settings_out_of_range_are_usage_errors(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClipSettings(**settings)


def test_an_unknown_way_to_hold_two_eyes_is_a_usage_error(films: Path, out: Path) -> None:
    with pytest.raises(UsageError, match="none, top-bottom, side-by-side"):
        prepare_films(films, out, stereo="over-under")  # type: ignore[arg-type]
