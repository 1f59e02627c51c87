"""Films out: what each ending keeps, and that an output appears whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import files_no_larger_than

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video, rgb_to_yuv, sinks, yuv_to_rgb

INFO = VideoInfo(128, 64, Fraction(30000, 1001), None, False, "bt709")
OUTPUTS = ["film.mkv", "film.mp4", "film.y4m", "frames"]


def noise(seed: int, low: int = 0, high: int = 256) -> YuvFrame:
    rng = np.random.default_rng(seed)
    return YuvFrame(*(rng.integers(low, high, size, dtype=np.uint8) for size in ((64, 128), (32, 64), (32, 64))))


def smooth(number: int) -> YuvFrame:
    x = np.arange(128) / 128 * 2 * np.pi
    rgb = 128 + 80 * np.sin(x[None, :, None] + np.arange(64)[:, None, None] / 40 + np.arange(3) + number / 5)
    return rgb_to_yuv(rgb.astype(np.uint8))


def write(path: Path, frames: list[YuvFrame], info: VideoInfo = INFO, **options: bool) -> Path:
    with create_video(path, info, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def equal(a: YuvFrame, b: YuvFrame) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("output", ["film.mkv", "film.y4m", "FILM.MKV"])
@pytest.mark.parametrize("full_range", [False, True])
def test_lossless(output: str, full_range: bool, tmp_path: Path) -> None:
    frames = [noise(seed) for seed in range(5)]
    with open_video(write(tmp_path / output, frames, INFO._replace(full_range=full_range))) as reader:
        assert reader.info == INFO._replace(full_range=full_range, frames=5)
        assert [equal(a, b) for a, b in zip(reader, frames, strict=True)] == [True] * 5
    assert [path.name for path in tmp_path.iterdir()] == [output]


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("output", ["film.mkv", "film.mp4"])
def test_tags_of_colour_are_kept(output: str, matrix: str, tmp_path: Path) -> None:
    for full_range in (False, True):
        info = INFO._replace(matrix=matrix, full_range=full_range, frames=2)
        with open_video(write(tmp_path / output, [smooth(0), smooth(1)], info, force=True)) as reader:
            assert reader.info == info


def test_mp4_is_visually_lossless(film: Path, tmp_path: Path) -> None:
    with open_video(film) as reader:
        frames, info = list(reader), reader.info
    with open_video(write(tmp_path / "film.mp4", frames, info)) as reader:
        errors = [np.mean((a.y.astype(float) - b.y) ** 2) for a, b in zip(reader, frames, strict=True)]
    assert max(errors) < 255**2 / 10**4.2, "below 42 dB"


def test_png_holds_the_rgb_picture(tmp_path: Path) -> None:
    frames = [smooth(number) for number in range(12)]
    folder = write(tmp_path / "frames", frames)
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:06d}.png" for number in range(12)]
    with open_video(folder) as reader:
        assert reader.info.frames == 12
        for got, frame in zip(reader, frames, strict=True):
            assert equal(got, rgb_to_yuv(yuv_to_rgb(frame, INFO)))


@pytest.mark.parametrize("name", ["a.avi", "a.MOV", "a.png", "a.dsc"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"use \.mkv, \.mp4, \.y4m or a folder"):
        write(tmp_path / name, [smooth(0)])


@pytest.mark.parametrize("output", OUTPUTS)
def test_frames_of_another_size_are_refused(output: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"), create_video(tmp_path / output, INFO) as writer:
        writer.write(YuvFrame(*(plane[2:] for plane in smooth(0))))
    assert not list(tmp_path.iterdir())


# Whole or not at all


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_nothing_is_left_when_it_stops_half_way(output: str, error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), create_video(tmp_path / output, INFO) as writer:
        writer.write(noise(0))
        writer.write(noise(1))
        assert not (tmp_path / output).exists()
        raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_film_without_frames_is_refused(output: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no frames"):
        write(tmp_path / output, [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_existing_output_is_replaced_only_by_force(output: str, tmp_path: Path) -> None:
    path = write(tmp_path / output, [smooth(0), smooth(1)])
    with pytest.raises(UsageError, match="--force"):
        write(path, [smooth(2)])
    with pytest.raises(RuntimeError), create_video(path, INFO, force=True) as writer:
        writer.write(smooth(2))
        raise RuntimeError
    with open_video(path) as reader:
        assert len(list(reader)) == 2, "the old one stays until the new one is whole"
    write(path, [smooth(2)], force=True)
    with open_video(path) as reader:
        assert len(list(reader)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [output]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_full_disk(output: str, size: int, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="cannot be written: file too large") as caught, files_no_larger_than(size):
        write(tmp_path / output, [noise(seed) for seed in range(4)])
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_very_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks, "mark_as_spherical", fail)
    with pytest.raises(CodecError, match="no space left on device; nothing of it was kept"):
        write(tmp_path / "film.mp4", [smooth(0)])
    assert not list(tmp_path.iterdir())
