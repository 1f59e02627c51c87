"""Films against films."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import make_film, make_frame

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.compare import compare_frames, compare_videos, measure
from deepsphere_codec.video import YuvFrame

KEYS = "ws-psnr-y ws-psnr-yuv psnr-y s-psnr-nn-y ms-ssim-y".split()


def test_a_film_equals_itself(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m")
    calls: list[tuple[int, int | None]] = []
    comparison = compare_videos(film, film, on_progress=lambda *call: calls.append(call))
    as_dict = comparison.as_dict()
    assert list(as_dict) == ["frames", *KEYS, "per_frame"]
    assert as_dict["frames"] == 6 == len(as_dict["per_frame"]) == len(calls)
    assert calls[-1][0] == 6
    assert [as_dict[key] for key in KEYS] == [100.0, 100.0, 100.0, 100.0, None]  # 64 x 32 is too small for MS-SSIM
    assert list(as_dict["per_frame"][0]) == KEYS
    json.dumps(as_dict, allow_nan=False)


def test_means_are_over_frames_in_decibels() -> None:
    frame = make_frame(64, 32)
    coded = [YuvFrame(*(plane + offset for plane in frame)) for offset in (1, 4)]
    comparison = compare_frames((frame, each) for each in coded)
    expected = [measure(frame, each).ws_psnr_yuv for each in coded]
    assert [each.ws_psnr_yuv for each in comparison.per_frame] == expected
    assert comparison.mean.ws_psnr_yuv == pytest.approx(sum(expected) / 2)
    assert expected[0] - expected[1] == pytest.approx(12.0412, abs=1e-4)


def test_a_range_of_the_reference(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.y4m", frames=6)
    part = make_film(tmp_path / "part.y4m", frames=2)
    assert compare_videos(whole, part, frames=(0, 2)).mean.ws_psnr_y == 100.0
    assert compare_videos(whole, part, frames=(2, 4)).mean.ws_psnr_y < 40


def test_a_source_that_ends_first_is_refused(tmp_path: Path) -> None:
    short, long = (make_film(tmp_path / f"{frames}.y4m", frames=frames) for frames in (4, 6))
    with pytest.raises(UsageError, match=r"4\.y4m ends after 4 frames.*--frames A:B"):
        compare_videos(short, long)


def test_a_source_may_go_on_unless_its_range_was_given(tmp_path: Path) -> None:
    short, long = (make_film(tmp_path / f"{frames}.y4m", frames=frames) for frames in (4, 6))
    assert compare_videos(long, short).frames == 4
    with pytest.raises(UsageError, match=r"4\.y4m ends after 4 frames"):
        compare_videos(long, short, frames=(0, 6))


def test_another_size_is_refused(tmp_path: Path) -> None:
    small, big = make_film(tmp_path / "a.y4m"), make_film(tmp_path / "b.y4m", width=128, height=64)
    with pytest.raises(UsageError, match=r"a\.y4m is 64x32, .*b\.y4m is 128x64"):
        compare_videos(small, big)


def test_no_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="no frames to compare"):
        compare_frames([])
