"""The .ssf file: it gives back what was put in, and notices whatever happens to it."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import pytest

from deepsphere_codec.errors import DamagedStream, IncompatibleStream
from deepsphere_codec.evaluation.anchors.ssf2020 import container
from deepsphere_codec.evaluation.anchors.ssf2020.container import Frame, SsfFile, pack, unpack
from deepsphere_codec.frames import VideoInfo

FRAMES = [
    Frame([b"picture" * 30, b"hyper"]),
    Frame([b"", b"m", b"r" * 20000, b""]),
    Frame([b"\x00", b"\xff" * 127]),
]
INFO = VideoInfo(1024, 512, Fraction(30000, 1001), 3, False, "bt709")
FILE = SsfFile(INFO, 2, 1, 7, "a1" * 32, FRAMES)
DATA = pack(FILE)


def test_what_was_packed_comes_back() -> None:
    assert unpack(DATA, "a.ssf") == FILE


def test_its_bytes_do_not_change() -> None:
    assert len(DATA) == 20467 and zlib.crc32(DATA) == 0x93AF199F


@pytest.mark.parametrize("lengths", [(0, 0), (127, 128), (16383, 16384, 0, 5), (1 << 21, 3)])
def test_strings_of_any_length(lengths: tuple[int, ...]) -> None:
    frame = Frame([bytes([65 + n]) * length for n, length in enumerate(lengths)])
    intra = Frame([b"a", b"b"])
    frames = [frame] if frame.frame_type == "I" else [intra, frame]
    assert unpack(pack(FILE._replace(frames=frames)), "a.ssf").frames == frames


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff" * 9, b"\x05abc"], ids=repr)
def test_strings_that_were_never_packed_are_noticed(payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame, "payload", payload)
    forged = pack(FILE._replace(frames=FRAMES[:1]))
    with pytest.raises(DamagedStream):
        unpack(forged, "a.ssf")


def test_any_altered_byte_is_noticed() -> None:
    places = [*range(120), *range(120, len(DATA), 997), *range(len(DATA) - 140, len(DATA))]
    for place in places:
        altered = bytearray(DATA)
        altered[place] ^= 0x10
        with pytest.raises(DamagedStream, match="a.ssf"):
            unpack(bytes(altered), "a.ssf")


def test_any_missing_end_is_noticed() -> None:
    for size in [*range(120), *range(120, len(DATA), 997), len(DATA) - 1]:
        with pytest.raises(DamagedStream, match="a.ssf"):
            unpack(DATA[:size], "a.ssf")


def test_what_follows_the_last_frame_is_noticed() -> None:
    with pytest.raises(DamagedStream, match="1 bytes more than"):
        unpack(DATA + b"x", "a.ssf")


def test_frames_in_another_order_or_from_another_file_are_noticed() -> None:
    data = pack(FILE._replace(gop=1, frames=[Frame([b"a", b"b"]), Frame([b"c", b"d"])]))
    front, first, second = data[:-24], data[-24:-12], data[-12:]
    other = pack(FILE._replace(gop=1, quality=6, frames=[Frame([b"a", b"b"]), Frame([b"c", b"d"])]))
    assert unpack(front + first + second, "a.ssf")
    for mixed in (front + second + first, other[:-24] + first + second):
        with pytest.raises(DamagedStream, match="checksum of frame 0 differs"):
            unpack(mixed, "a.ssf")


def test_a_type_that_is_not_due_is_noticed() -> None:
    with pytest.raises(DamagedStream, match="frame 0 is of type 'P', expected 'I'"):
        unpack(pack(FILE._replace(frames=FRAMES[1:2])), "a.ssf")


def test_a_newer_version_is_told_from_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "FORMAT_VERSION", 2)
    newer = pack(FILE)
    monkeypatch.undo()
    with pytest.raises(IncompatibleStream, match="a.ssf: version 2 of the format, expected 1"):
        unpack(newer, "a.ssf")


@pytest.mark.parametrize("size", [(1 << 20, 512), (1023, 512), (0, 512)])
def test_a_header_that_was_never_written_is_noticed_even_if_its_checksum_holds(size: tuple[int, int]) -> None:
    front = bytearray(pack(FILE._replace(frames=[]))[:-4])
    struct.pack_into("<II", front, 14, *size)
    struct.pack_into("<I", front, 34, 3)
    forged = bytes(front) + struct.pack("<I", zlib.crc32(front))
    with pytest.raises(DamagedStream, match="no such file was ever written"):
        unpack(forged, "a.ssf")


def test_a_matrix_that_nobody_knows_is_noticed() -> None:
    with pytest.raises(DamagedStream, match="'bt1': no such file was ever written"):
        unpack(pack(FILE._replace(info=INFO._replace(matrix="bt1"))), "a.ssf")
