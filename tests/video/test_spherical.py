"""The marks in an .mp4, read back by hand and by FFmpeg."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from deepsphere_codec.video import VideoInfo, YuvFrame, create_video
from deepsphere_codec.video.spherical import SPHERICAL_UUID, mark_as_spherical

GSPHERICAL = "{http://ns.google.com/videos/1.0/spherical/}"
SKIP = {b"stsd": 8, b"avc1": 78}
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"sv3d", b"proj"}


def boxes(data: bytes, path: tuple[bytes, ...] = ()) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """(path, body) of every box; fails where sizes do not add up."""
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        assert 8 <= size <= len(data) - offset, (path, kind, size)
        body = data[offset + 8 : offset + size]
        yield (*path, kind), body
        if kind in CONTAINERS:
            yield from boxes(body[SKIP.get(kind, 0) :], (*path, kind))
        offset += size
    assert offset == len(data)


def make_film(path: Path) -> Path:
    frame = YuvFrame(np.full((64, 128), 90, np.uint8), *(np.full((32, 64), 120, np.uint8) for _ in range(2)))
    with create_video(path, VideoInfo(128, 64, Fraction(30), None, False, "bt709"), force=True) as writer:
        for _ in range(3):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("marked") / "film.mp4")


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def projection(path: Path) -> int | None:
    """The number FFmpeg gives the projection (0 is equirectangular), if it sees a sphere."""
    data = {side.type: bytes(side) for side in frames(path)[0].side_data}
    return struct.unpack_from("i", data[Type.SPHERICAL])[0] if Type.SPHERICAL in data else None


def test_version_1_is_in_the_track(marked: Path) -> None:
    uuids = [body for path, body in boxes(marked.read_bytes()) if path == (b"moov", b"trak", b"uuid")]
    (body,) = [body for body in uuids if body[:16] == SPHERICAL_UUID.bytes]
    root = ElementTree.fromstring(body[16:].decode())
    assert root.findtext(f"{GSPHERICAL}Spherical") == "true"
    assert root.findtext(f"{GSPHERICAL}Stitched") == "true"
    assert root.findtext(f"{GSPHERICAL}ProjectionType") == "equirectangular"


def test_version_2_is_in_the_sample_entry(marked: Path) -> None:
    entry = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    found = {path[len(entry) :]: body for path, body in boxes(marked.read_bytes()) if path[: len(entry)] == entry}
    assert found[(b"st3d",)] == bytes(5), "monoscopic"
    assert found[(b"sv3d", b"svhd")].endswith(b"\0")
    assert found[(b"sv3d", b"proj", b"prhd")] == bytes(16)
    assert found[(b"sv3d", b"proj", b"equi")] == bytes(20)


def test_ffmpeg_sees_a_sphere_and_every_frame(marked: Path) -> None:
    assert projection(marked) == 0
    assert [int(frame.to_ndarray()[0, 0]) for frame in frames(marked)] == [90] * 3


@pytest.mark.parametrize("hidden", [b"uuid", b"sv3d"])
def test_ffmpeg_sees_it_by_either_version(hidden: bytes, marked: Path, tmp_path: Path) -> None:
    data = marked.read_bytes()
    at = data.rindex(hidden)
    (tmp_path / "film.mp4").write_bytes(data[:at] + b"free" + data[at + 4 :])
    assert projection(tmp_path / "film.mp4") == 0


def test_without_the_mark_there_is_no_sphere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepsphere_codec.video.sinks.mark_as_spherical", lambda path: None)
    assert projection(make_film(tmp_path / "film.mp4")) is None


def test_an_index_that_is_not_last_is_refused(marked: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(marked.read_bytes() + struct.pack(">I4s", 8, b"free"))
    with pytest.raises(ValueError, match="last box"):
        mark_as_spherical(tmp_path / "film.mp4")
