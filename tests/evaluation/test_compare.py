"""Films against films."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from support import make_film, make_frame

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.compare import compare_frames, compare_videos
from deepsphere_codec.metrics.frame import ALL_KEYS, QUICK_KEYS, measure_quick
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video

KEYS = "ws-psnr-y ws-psnr-yuv psnr-y s-psnr-nn-y ms-ssim-y".split()  # what the command has had from its beginning


def test_a_film_equals_itself(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m")
    calls: list[tuple[int, int | None]] = []
    comparison = compare_videos(film, film, measure=measure_quick, on_progress=lambda *call: calls.append(call))
    as_dict = comparison.as_dict(QUICK_KEYS)
    assert list(as_dict) == ["frames", *QUICK_KEYS, "per_frame"] and list(as_dict)[1:6] == KEYS
    assert as_dict["frames"] == 6 == len(as_dict["per_frame"]) == len(calls)
    assert calls[-1][0] == 6
    assert [as_dict[key] for key in KEYS] == [100.0, 100.0, 100.0, 100.0, None]  # 64 x 32 is too small for MS-SSIM
    assert list(as_dict["per_frame"][0]) == list(QUICK_KEYS)
    json.dumps(as_dict, allow_nan=False)
    assert list(comparison.as_dict()) == ["frames", *ALL_KEYS, "per_frame"]


def test_everything_is_measured_unless_less_is_asked_for(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", frames=1)
    mean = compare_videos(film, film).mean
    assert [key for key, value in mean.as_dict().items() if value is None] == ["ms-ssim-y"]


def test_means_are_over_frames_in_decibels() -> None:
    frame = make_frame(64, 32)
    coded = [YuvFrame(*(plane + offset for plane in frame)) for offset in (1, 4)]
    comparison = compare_frames(((frame, each) for each in coded), measure=measure_quick)
    expected = [measure_quick(frame, each).ws_psnr_yuv for each in coded]
    assert [each.ws_psnr_yuv for each in comparison.per_frame] == expected
    assert comparison.mean.ws_psnr_yuv == pytest.approx(sum(expected) / 2)
    assert expected[0] - expected[1] == pytest.approx(12.0412, abs=1e-4)


def test_a_range_of_the_reference(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.y4m", frames=6)
    part = make_film(tmp_path / "part.y4m", frames=2)
    assert compare_videos(whole, part, frames=(0, 2), measure=measure_quick).mean.ws_psnr_y == 100.0
    assert compare_videos(whole, part, frames=(2, 4), measure=measure_quick).mean.ws_psnr_y < 40


def test_a_source_that_ends_first_is_refused(tmp_path: Path) -> None:
    short, long = (make_film(tmp_path / f"{frames}.y4m", frames=frames) for frames in (4, 6))
    with pytest.raises(UsageError, match=r"4\.y4m ends after 4 frames.*--frames A:B"):
        compare_videos(short, long)


def test_a_source_may_go_on_unless_its_range_was_given(tmp_path: Path) -> None:
    short, long = (make_film(tmp_path / f"{frames}.y4m", frames=frames) for frames in (4, 6))
    assert compare_videos(long, short, measure=measure_quick).frames == 4
    with pytest.raises(UsageError, match=r"4\.y4m ends after 4 frames"):
        compare_videos(long, short, frames=(0, 6))


def test_another_size_is_refused(tmp_path: Path) -> None:
    small, big = make_film(tmp_path / "a.y4m"), make_film(tmp_path / "b.y4m", width=128, height=64)
    with pytest.raises(UsageError, match=r"a\.y4m is 64x32, .*b\.y4m is 128x64"):
        compare_videos(small, big)


def film_at(path: Path, fps: Fraction) -> Path:
    with create_video(path, VideoInfo(64, 32, fps, None, False, "bt709")) as writer:
        for number in range(3):
            writer.write(make_frame(64, 32, number))
    return path


@pytest.mark.parametrize("suffix", [".y4m", ".mkv", ".mp4"])
def test_another_frame_rate_is_refused(tmp_path: Path, suffix: str) -> None:
    source = film_at(tmp_path / "source.y4m", Fraction(30000, 1001))
    decoded = film_at(tmp_path / f"decoded{suffix}", Fraction(30))
    with pytest.raises(UsageError, match=rf"source\.y4m has 29\.97 frames/s, .*decoded\{suffix} has 30;"):
        compare_videos(source, decoded, measure=measure_quick)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(14777, 500), Fraction(1, 2)])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_frame_rate_survives_every_container(tmp_path: Path, suffix: str, fps: Fraction) -> None:
    source, decoded = film_at(tmp_path / "source.y4m", fps), film_at(tmp_path / f"decoded{suffix}", fps)
    assert compare_videos(source, decoded, measure=measure_quick).frames == 3


def test_a_folder_of_pictures_goes_with_any_frame_rate(tmp_path: Path) -> None:
    film, folder = film_at(tmp_path / "film.y4m", Fraction(24)), film_at(tmp_path / "frames", Fraction(24))
    assert compare_videos(folder, film, measure=measure_quick).frames == 3
    assert compare_videos(film, folder, measure=measure_quick).frames == 3


def test_no_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="no frames to compare"):
        compare_frames([])
