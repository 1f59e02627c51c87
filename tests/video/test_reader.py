"""Films in: what every source delivers, ranges, and what is refused."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from deepsphere_codec.errors import UsageError
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video, rgb_to_yuv

SIZE = (128, 64)


def picture(number: int, width: int = SIZE[0], height: int = SIZE[1]) -> YuvFrame:
    """Smooth, and its number can be read from it."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    luma = (40 + 10 * number + 60 * x + 40 * y).astype(np.uint8)
    return YuvFrame(luma, *(np.full((height // 2, width // 2), 110 + 20 * plane, np.uint8) for plane in range(2)))


def make_film(
    path: Path, frames: int = 6, *, codec: str = "ffv1", pix_fmt: str = "yuv420p", full: bool = False
) -> Path:
    """A film that PyAV writes, in any pixel format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = 1
        for number in range(frames):
            planes = np.concatenate([plane.ravel() for plane in picture(number)]).reshape(-1, SIZE[0])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.colorspace, frame.color_range = 1, 2 if full else 1
            frame = frame.reformat(format=pix_fmt, src_color_range=1 + full, dst_color_range=1 + full)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(frames: list[YuvFrame]) -> list[int]:
    return [round((int(frame.y[0, 0]) - 40) / 10) for frame in frames]


@pytest.fixture
def six(tmp_path: Path) -> Path:
    return make_film(tmp_path / "six.mkv")


def test_planes_are_delivered_as_stored(six: Path) -> None:
    with open_video(six) as reader:
        assert reader.info == VideoInfo(*SIZE, Fraction(25), 6, False, "bt709")
        frames = list(reader)
    assert len(frames) == 6
    for number, frame in enumerate(frames):
        assert all(np.array_equal(a, b) for a, b in zip(frame, picture(number), strict=True))
        assert all(plane.dtype == np.uint8 for plane in frame)


def test_frames_may_be_kept(six: Path) -> None:
    with open_video(six) as reader:
        first = next(reader)
        copy = first.y.copy()
        list(reader)
    assert np.array_equal(first.y, copy), "the decoder's buffer was handed out"


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le", "yuva420p"])
@pytest.mark.parametrize("full", [False, True])
def test_other_formats_are_converted_in_their_own_range(pix_fmt: str, full: bool, tmp_path: Path) -> None:
    with open_video(make_film(tmp_path / "film.mkv", 2, pix_fmt=pix_fmt, full=full)) as reader:
        assert reader.info.full_range is full
        for number, frame in enumerate(reader):
            for got, expected in zip(frame, picture(number), strict=True):
                assert np.abs(got.astype(int) - expected).max() <= 1


def test_rgb_becomes_limited_bt709(tmp_path: Path) -> None:
    rgb = np.full((*SIZE[::-1], 3), (200, 40, 90), np.uint8)
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(tmp_path / "film.mkv") as reader:
        assert (reader.info.full_range, reader.info.matrix) == (False, "bt709")
        (frame,) = reader
    assert all(np.array_equal(a, b) for a, b in zip(frame, rgb_to_yuv(rgb), strict=True))


def test_real_footage(footage: Path) -> None:
    film = sorted((footage / "test" / "video").glob("*.mp4"))[0]
    with open_video(film, frames=(2, 5)) as reader:
        assert reader.info[:2] == (1024, 512) and reader.info.matrix == "bt709" and not reader.info.full_range
        assert reader.info.frames == 96 and reader.expected == 3
        frames = list(reader)
    assert [frame.y.shape for frame in frames] == [(512, 1024)] * 3


# Ranges


@pytest.mark.parametrize(
    "frames",
    [None, (None, None), (0, 6), (2, None), (None, 4), (1, 3), (4, 99), (-2, None), (None, -4), (-3, -1), (1, -1)],
    ids=str,
)
@pytest.mark.parametrize("kind", ["mkv", "mp4", "y4m", "png"])
def test_a_range_is_a_slice(frames: tuple[int | None, int | None] | None, kind: str, films: dict[str, Path]) -> None:
    with open_video(films[kind], frames=frames) as reader:
        expected = reader.expected
        got = list(reader)
    wanted = list(range(6))[slice(*(frames or (None, None)))]
    assert numbers(got) == wanted
    assert expected is None or expected == len(wanted)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    paths = {
        kind: folder / name for kind, name in [("y4m", "a.y4m"), ("png", "frames"), ("mp4", "a.mp4"), ("mkv", "a.mkv")]
    }
    for path in paths.values():
        with create_video(path, VideoInfo(*SIZE, Fraction(25), None, False, "bt709")) as writer:
            for number in range(6):
                writer.write(picture(number))
    return paths


@pytest.mark.parametrize("frames", [(3, 3), (4, 2), (0, 0), (None, 0), (-1, -2), (None, -6), (-9, -6)], ids=str)
def test_an_empty_range_is_refused_at_once(frames: tuple[int | None, int | None], six: Path) -> None:
    with pytest.raises(UsageError, match="holds no frames"):
        open_video(six, frames=frames)


def test_a_range_beyond_the_end_is_refused(six: Path) -> None:
    with open_video(six, frames=(6, 9)) as reader, pytest.raises(UsageError, match="no frames in 6:9"):
        next(reader)


# Folders


def test_a_folder_is_read_in_natural_order(films: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(6):
        (folder / f"f{number * 5}.PNG").write_bytes((films["png"] / f"{number:06d}.png").read_bytes())
    (folder / "notes.txt").write_text("no frame")
    (folder / ".hidden.png").write_text("no frame")
    with open_video(folder) as reader:
        assert reader.info == VideoInfo(*SIZE, Fraction(30), 6, False, "bt709", knows_fps=False)
        assert numbers(list(reader)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("pix_fmt", ["gray", "rgba", "rgb48be", "pal8"])
def test_png_of_other_kinds(pix_fmt: str, tmp_path: Path) -> None:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 8, 4, pix_fmt, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((4, 8, 3), 130, np.uint8), format="rgb24")
    if pix_fmt == "pal8":
        frame = av.VideoFrame.from_ndarray(
            (np.zeros((4, 8), np.uint8), np.full((256, 4), 130, np.uint8)), format="pal8"
        )
    else:
        frame = frame.reformat(format=pix_fmt)
    (tmp_path / "1.png").write_bytes(b"".join(bytes(packet) for packet in encoder.encode(frame) + encoder.encode(None)))
    with open_video(tmp_path) as reader:
        (got,) = reader
    assert abs(int(got.y[0, 0]) - round(16 + 130 * 219 / 255)) <= 1
    assert abs(int(got.u[0, 0]) - 128) <= 1 and abs(int(got.v[0, 0]) - 128) <= 1


def test_a_folder_with_frames_of_two_sizes(films: dict[str, Path], tmp_path: Path) -> None:
    with create_video(tmp_path / "b", VideoInfo(64, 32, Fraction(25), None, False, "bt709")) as writer:
        writer.write(picture(0, 64, 32))
    (tmp_path / "b" / "9.png").write_bytes((films["png"] / "000000.png").read_bytes())
    with (
        open_video(tmp_path / "b") as reader,
        pytest.raises(UsageError, match=r"9\.png is 128x64, the first frame 64x32"),
    ):
        list(reader)


# What is refused


def y4m(path: Path, width: int, height: int, frames: int = 1) -> Path:
    chroma = 2 * ((width + 1) // 2) * ((height + 1) // 2)
    data = b"FRAME\n" + bytes(width * height + chroma)
    path.write_bytes(b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420\n" % (width, height) + data * frames)
    return path


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("missing.mp4", None, "does not exist"),
        ("x" * 300, None, "cannot be read"),
        ("empty.mp4", b"", "cannot be opened as a film"),
        ("text.txt", b"a letter\n" * 99, "film"),
        ("text.mp4", b"a letter\n" * 99, "cannot be opened as a film"),
        ("noise.mkv", bytes(range(256)) * 9, "cannot be opened as a film"),
    ],
)
def test_what_is_no_film(name: str, content: bytes | None, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=text) as caught:
        open_video(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with pytest.raises(UsageError, match="holds no video"):
        open_video(tmp_path / "sound.wav")


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none.y4m"):
        open_video(y4m(tmp_path / "none.y4m", 64, 32, 0))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="holds no PNG frames"):
        open_video(tmp_path / "folder")


@pytest.mark.parametrize(("width", "height"), [(64, 36), (32, 64), (66, 33), (62, 31), (63, 31)])
def test_sizes_that_are_refused(width: int, height: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"is {width}x{height}"):
        open_video(y4m(tmp_path / "film.y4m", width, height))


def test_a_whole_sphere_in_another_shape(tmp_path: Path) -> None:
    path = y4m(tmp_path / "film.y4m", 64, 36)
    with pytest.raises(UsageError, match="--assume-erp"):
        open_video(path)
    with open_video(path, assume_erp=True) as reader:
        assert reader.info[:2] == (64, 36)
        assert next(reader).y.shape == (36, 64)
    with pytest.raises(UsageError, match="even"):
        open_video(y4m(tmp_path / "odd.y4m", 64, 35), assume_erp=True)


def test_a_film_that_is_cut_short(films: dict[str, Path], tmp_path: Path) -> None:
    """With its index in front, as cameras and web sites write it, such a film opens."""
    with (
        av.open(str(films["mp4"])) as source,
        av.open(str(tmp_path / "film.mp4"), "w", options={"movflags": "faststart"}) as copy,
    ):
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    data = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(data[:-10])
    with open_video(tmp_path / "film.mp4") as reader, pytest.raises(UsageError, match="is cut short: it ends after"):
        list(reader)
    with open_video(tmp_path / "film.mp4", frames=(0, 2)) as reader:
        assert numbers(list(reader)) == [0, 1], "what is there can be had"


def test_a_broken_png(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(UsageError, match=r"1\.png"):
        open_video(tmp_path)


def test_an_odd_name(tmp_path: Path) -> None:
    path = make_film(tmp_path / "plain.mkv", 2).rename(tmp_path / "http:%03d é?.mkv")
    with open_video(path) as reader:
        assert len(list(reader)) == 2
