"""Primaries, transfer and range: from film to film, and what is assumed where a film does not say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video
from deepsphere_codec.video.tags import CUSTOMARY, tags_of

INFO = VideoInfo(64, 32, Fraction(25), 2, False, "bt709")
UNSAID = 2
COLOURS = {
    "hdr10": {"matrix": "bt2020", "primaries": 9, "transfer": 16},
    "hlg": {"matrix": "bt2020", "primaries": 9, "transfer": 18},
    "bt2020 with the curve of BT.709": {"matrix": "bt2020", "primaries": 9, "transfer": 1},
    "display p3": {"matrix": "bt709", "primaries": 12, "transfer": 13},
    "pal": {"matrix": "bt601", "primaries": 5, "transfer": 6},
    "srgb, full range": {"transfer": 13, "full_range": True},
    "hdr10, full range": {"matrix": "bt2020", "primaries": 9, "transfer": 16, "full_range": True},
}


def grey(level: int = 90) -> YuvFrame:
    return YuvFrame(np.full((32, 64), level, np.uint8), *(np.full((16, 32), 120, np.uint8) for _ in range(2)))


def write(path: Path, info: VideoInfo) -> Path:
    with create_video(path, info, force=True) as writer:
        writer.write(grey())
        writer.write(grey())
    return path


def stored(path: Path) -> tuple[int, int, int, int]:
    """Range, matrix, primaries and transfer, as FFmpeg reads them."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc


def tagged(path: Path, *, pix_fmt: str, primaries: int, transfer: int, matrix: int, full: bool = False) -> Path:
    """A grey film that PyAV writes, luma 300 of 1023, with any tags."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, pix_fmt
        context = stream.codec_context
        context.color_range, context.colorspace = 1 + full, matrix
        context.color_primaries, context.color_trc = primaries, transfer
        if pix_fmt == "bgr0":
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), 70, np.uint8), format="rgb24")
        else:
            planes = np.full((48, 64), 300, np.uint16)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("output", ["film.mkv", "film.mp4"])
@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS.keys())
def test_they_are_kept(output: str, colour: dict[str, object], tmp_path: Path) -> None:
    info = INFO._replace(**colour)
    path = write(tmp_path / output, info)
    with open_video(path) as reader:
        assert reader.info == info
    matrix = CUSTOMARY[info.matrix].matrix
    assert stored(path) == (1 + info.full_range, matrix, info.primaries, info.transfer)


@pytest.mark.parametrize("matrix", CUSTOMARY)
def test_what_is_not_said_is_written_as_the_matrix_has_it(matrix: str, tmp_path: Path) -> None:
    info = INFO._replace(matrix=matrix, primaries=UNSAID, transfer=UNSAID)
    assert stored(write(tmp_path / "film.mkv", info)) == (1, *CUSTOMARY[matrix])


@pytest.mark.parametrize(("number", "matrix"), [(1, "bt709"), (2, "bt709"), (5, "bt601"), (6, "bt601"), (9, "bt2020")])
def test_what_a_film_does_not_say_is_its_matrix_own(number: int, matrix: str, tmp_path: Path) -> None:
    path = tagged(tmp_path / "film.mkv", pix_fmt="yuv420p10le", primaries=UNSAID, transfer=UNSAID, matrix=number)
    with open_video(path) as reader:
        assert (reader.info.matrix, reader.info.primaries, reader.info.transfer) == (matrix, *CUSTOMARY[matrix][1:])


@pytest.mark.parametrize("number", [-1, 0, UNSAID, 3, 19, 23, 255, 257])
def test_numbers_without_a_meaning_count_as_not_said(number: int) -> None:
    assert tags_of("bt2020", number, number) == CUSTOMARY["bt2020"]


@pytest.mark.parametrize("full", [False, True])
def test_ten_bits_of_hdr_become_eight_and_nothing_else(full: bool, tmp_path: Path) -> None:
    """No curve and no matrix is applied: 300 of 1023 is 75 of 255, PQ or not (in full range, 300 * 255 / 1023)."""
    path = tagged(tmp_path / "film.mkv", pix_fmt="yuv420p10le", primaries=9, transfer=16, matrix=9, full=full)
    with open_video(path) as reader:
        assert reader.info[4:6] == (full, "bt2020") and (reader.info.primaries, reader.info.transfer) == (9, 16)
        (frame,) = reader
    assert all(np.abs(plane.astype(int) - 75).max() <= 1 for plane in frame)


def test_rgb_keeps_its_primaries_and_curve(tmp_path: Path) -> None:
    """Only the matrix is ours: it is applied to R'G'B' as they are."""
    path = tagged(tmp_path / "film.mkv", pix_fmt="bgr0", primaries=12, transfer=13, matrix=0)
    with open_video(path) as reader:
        assert (reader.info.matrix, reader.info.primaries, reader.info.transfer) == ("bt709", 12, 13)
