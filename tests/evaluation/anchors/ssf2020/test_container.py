"""The .ssf file: it gives back what was put in, and notices whatever happens to it."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import pytest

from deepsphere_codec.errors import DamagedStream, IncompatibleStream
from deepsphere_codec.evaluation.anchors.ssf2020 import container
from deepsphere_codec.evaluation.anchors.ssf2020.container import (
    Frame,
    SsfHeader,
    pack,
    pack_strings,
    unpack,
    unpack_strings,
)

HEADER = SsfHeader(1024, 512, 30000, 1001, 2, 3, 1, 7, True, "a1" * 32, "bt709")
FRAMES = [
    Frame("I", (b"picture" * 30, b"hyper")),
    Frame("P", (b"", b"m", b"r" * 20000, b"")),
    Frame("I", (b"\x00", b"\xff" * 127)),
]
DATA = pack(HEADER, FRAMES)


def test_what_was_packed_comes_back() -> None:
    assert unpack(DATA, "a.ssf") == (HEADER, FRAMES)


def test_it_costs_a_few_bytes() -> None:
    payloads = sum(len(string) for frame in FRAMES for string in frame.strings)
    assert len(DATA) - payloads < 90 + len(FRAMES) * 16


@pytest.mark.parametrize("lengths", [(0, 0), (127, 128, 5), (16383, 16384, 0), (1 << 21, 3)])
def test_strings_of_any_length(lengths: tuple[int, ...]) -> None:
    strings = tuple(bytes([65 + n]) * length for n, length in enumerate(lengths))
    assert unpack_strings(pack_strings(strings), len(strings)) == strings


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff" * 9, b"\x05abc"], ids=repr)
def test_strings_that_were_never_packed_are_noticed(payload: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_strings(payload, 2)


def test_any_altered_byte_is_noticed() -> None:
    places = [*range(120), *range(120, len(DATA), 997), *range(len(DATA) - 140, len(DATA))]
    for place in places:
        altered = bytearray(DATA)
        altered[place] ^= 0x10
        with pytest.raises(DamagedStream, match="a.ssf: "):
            unpack(bytes(altered), "a.ssf")


def test_any_missing_end_is_noticed() -> None:
    for size in [*range(120), *range(120, len(DATA), 997), len(DATA) - 1]:
        with pytest.raises(DamagedStream, match="a.ssf: "):
            unpack(DATA[:size], "a.ssf")


def test_what_follows_the_last_frame_is_noticed() -> None:
    with pytest.raises(DamagedStream, match="1 bytes follow the last frame"):
        unpack(DATA + b"x", "a.ssf")


def test_frames_in_another_order_or_from_another_file_are_noticed() -> None:
    same = [Frame("I", (b"a", b"b")), Frame("I", (b"c", b"d"))]
    header = replace(HEADER, gop=1, frames=2)
    data = pack(header, same)
    size = (len(data) - len(pack(replace(header, frames=1), []))) // 2
    for mixed in (
        data[: -2 * size] + data[-size:] + data[-2 * size : -size],
        pack(replace(header, quality=6), [])[:-4] + pack(replace(header, quality=6), [])[-4:] + data[-2 * size :],
    ):
        with pytest.raises(DamagedStream, match="frame 0 .* checksum differs"):
            unpack(mixed, "a.ssf")


def test_a_type_that_is_not_due_is_noticed() -> None:
    with pytest.raises(DamagedStream, match="frame 0 .* type 'P', which is not due"):
        unpack(pack(replace(HEADER, frames=1), FRAMES[1:2]), "a.ssf")


def test_a_newer_version_is_told_from_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "FORMAT_VERSION", 2)
    newer = pack(HEADER, FRAMES)
    monkeypatch.undo()
    with pytest.raises(IncompatibleStream, match="version 2 of the format, this installation reads 1"):
        unpack(newer, "a.ssf")


@pytest.mark.parametrize("size", [(1 << 20, 512), (1023, 512), (0, 512)])
def test_a_header_that_was_never_written_is_noticed_even_if_its_checksum_holds(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        replace(HEADER, width=size[0], height=size[1])
    front = bytearray(pack(HEADER, [])[:-4])
    struct.pack_into("<II", front, 14, *size)
    forged = bytes(front) + struct.pack("<I", zlib.crc32(front))
    with pytest.raises(DamagedStream, match="not one that was ever written"):
        unpack(forged, "a.ssf")


def test_it_needs_only_the_standard_library() -> None:
    module = "deepsphere_codec.evaluation.anchors.ssf2020.container"
    code = f"import sys, {module}; print(*{{'torch', 'numpy', 'av'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
