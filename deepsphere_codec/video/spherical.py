"""The mark in an .mp4 that makes players show it in the round.

Two standards are in use, and players read one or the other, so both are written: version 1, an XML text in a `uuid` box
of the track, and version 2, the boxes `st3d` and `sv3d` in the sample entry. FFmpeg's muxer could write the second, but
only from side data that PyAV cannot set.
Source: Google, Spherical Video RFC and Spherical Video V2 RFC (github.com/google/spatial-media/tree/master/docs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import UUID

SPHERICAL_UUID = UUID("ffcc8263-f855-4a93-8814-587a02521fdd")

_XML = """<?xml version="1.0"?>
<rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">
<GSpherical:Spherical>true</GSpherical:Spherical>
<GSpherical:Stitched>true</GSpherical:Stitched>
<GSpherical:StitchingSoftware>deepsphere_codec</GSpherical:StitchingSoftware>
<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>
</rdf:SphericalVideo>"""

_SAMPLE_ENTRY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
_BEFORE_CHILDREN = {b"stsd": 8, b"avc1": 78}
"""Bytes of a box's own fields in front of the boxes inside it. Source: ISO/IEC 14496-12, 8.5.2 and 12.1.3."""


def mark_as_spherical(path: Path) -> None:
    """Mark an H.264 .mp4 with one track as monoscopic and equirectangular, in place.

    The index (`moov`) must be the file's last box, as FFmpeg writes it, so that no offset into the media moves.

    Raises:
        ValueError: the file is laid out differently.
    """
    with path.open("rb+") as file:
        last = list(_top_level(file))[-1]
        if last.kind != b"moov":
            raise ValueError(f"the last box of {path} is {last.kind!r}, expected b'moov'")
        file.seek(last.offset)
        moov = file.read(last.size)
        moov = _append(moov, _SAMPLE_ENTRY, _version_2())
        moov = _append(moov, _SAMPLE_ENTRY[:2], _version_1())
        file.seek(last.offset)
        file.write(moov)


class _Box(NamedTuple):
    kind: bytes
    offset: int
    size: int


def _top_level(file: BinaryIO) -> Iterator[_Box]:
    end = file.seek(0, 2)
    offset = 0
    while offset < end:
        file.seek(offset)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:  # a large box (`mdat` beyond 4 GiB) has its size in 64 bits behind its name
            (size,) = struct.unpack(">Q", file.read(8))
        elif size == 0:  # up to the end of the file
            size = end - offset
        yield _Box(kind, offset, size)
        offset += size


def _append(boxes: bytes, path: tuple[bytes, ...], addition: bytes) -> bytes:
    """The same sequence of boxes with `addition` at the end of the one that `path` leads to, all sizes grown."""
    offset = 0
    while offset < len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, offset)
        if kind == path[0]:
            body = boxes[offset + 8 : offset + size]
            own = _BEFORE_CHILDREN.get(kind, 0)
            body = body[:own] + _append(body[own:], path[1:], addition) if path[1:] else body + addition
            return boxes[:offset] + _box(kind, body) + boxes[offset + size :]
        offset += size
    raise ValueError(f"there is no box {path[0]!r} in the index")


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, body: bytes) -> bytes:
    return _box(kind, bytes(4) + body)  # version 0, no flags


def _version_1() -> bytes:
    return _box(b"uuid", SPHERICAL_UUID.bytes + _XML.encode())


def _version_2() -> bytes:
    mono = _full_box(b"st3d", b"\0")
    source = _full_box(b"svhd", b"deepsphere_codec\0")
    pose = _full_box(b"prhd", struct.pack(">iii", 0, 0, 0))  # yaw, pitch, roll
    bounds = _full_box(b"equi", struct.pack(">IIII", 0, 0, 0, 0))  # nothing cut off at top, bottom, left, right
    return mono + _box(b"sv3d", source + _box(b"proj", pose + bounds))
