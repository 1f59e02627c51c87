"""Between RGB and YUV: known colours, round trips, the seam."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from deepsphere_codec.video import VideoInfo, YuvFrame, rgb_to_yuv, yuv_to_rgb

INFO = VideoInfo(16, 8, Fraction(30), None, False, "bt709")


def flat(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (8, 16, 3))


@pytest.mark.parametrize(
    ("rgb", "matrix", "full_range", "yuv"),
    [
        ((255, 255, 255), "bt709", False, (235, 128, 128)),
        ((0, 0, 0), "bt709", False, (16, 128, 128)),
        ((255, 0, 0), "bt709", False, (63, 102, 240)),
        ((0, 255, 0), "bt601", False, (145, 54, 34)),
        ((0, 0, 255), "bt601", True, (29, 255, 107)),
        ((255, 255, 255), "bt2020", True, (255, 128, 128)),
    ],
)
def test_known_colours(rgb: tuple[int, int, int], matrix: str, full_range: bool, yuv: tuple[int, int, int]) -> None:
    frame = rgb_to_yuv(flat(rgb), matrix=matrix, full_range=full_range)
    assert tuple(int(plane[0, 0]) for plane in frame) == yuv
    back = yuv_to_rgb(frame, INFO._replace(matrix=matrix, full_range=full_range))
    assert np.abs(back.astype(int) - flat(rgb)).max() <= 2


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_smooth_pictures_come_back(matrix: str, full_range: bool) -> None:
    lon, lat = np.meshgrid(np.linspace(0, 2 * np.pi, 64, endpoint=False), np.linspace(-1, 1, 32))
    rgb = np.stack([127 + 80 * np.sin(lon + k) * np.cos(lat) for k in range(3)], axis=-1).astype(np.uint8)
    frame = rgb_to_yuv(rgb, matrix=matrix, full_range=full_range)
    back = yuv_to_rgb(frame, INFO._replace(matrix=matrix, full_range=full_range))
    assert np.abs(back.astype(int) - rgb).mean() < 1.0
    assert np.abs(back.astype(int) - rgb).max() <= 4


def test_chroma_is_taken_across_the_seam() -> None:
    """A picture turned by any even number of columns converts to the same, turned."""
    rng = np.random.default_rng(0)
    frame = YuvFrame(*(rng.integers(60, 180, size, dtype=np.uint8) for size in ((8, 16), (4, 8), (4, 8))))
    turned = YuvFrame(np.roll(frame.y, 6, axis=1), np.roll(frame.u, 3, axis=1), np.roll(frame.v, 3, axis=1))
    assert np.array_equal(yuv_to_rgb(turned, INFO), np.roll(yuv_to_rgb(frame, INFO), 6, axis=1))


def test_luma_agrees_with_ffmpeg() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    theirs = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv444p", dst_colorspace="itu709", dst_color_range="MPEG"
    )
    theirs = np.asarray(theirs.to_ndarray())[0]
    assert np.abs(rgb_to_yuv(rgb).y.astype(int) - theirs).max() <= 2


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even sizes, got 15x8"):
        rgb_to_yuv(np.zeros((8, 15, 3), np.uint8))
