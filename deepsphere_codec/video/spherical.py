"""Metadata in an .mp4 that marks it as a spherical film for players.

Two standards are in use, and players read one or the other, so both are written: version 1, an XML text in a `uuid` box
of the track, and version 2, the boxes `st3d` and `sv3d` in the sample entry. FFmpeg's muxer could write the second, but
only from side data that PyAV cannot set.
Source: Google, Spherical Video RFC and Spherical Video V2 RFC (github.com/google/spatial-media/tree/master/docs).
"""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

from deepsphere_codec.video.boxes import find, inside, make_box, make_full_box, top_level

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
"""Size in bytes of a box's own fields before the boxes inside it. Source: ISO/IEC 14496-12, 8.5.2 and 12.1.3."""


def mark_as_spherical(path: Path) -> None:
    """Mark the first video track of an H.264 .mp4 as monoscopic and equirectangular, in place.

    The index (`moov`) must be the file's last box, as FFmpeg writes it, so that no offset into the media changes.

    Raises:
        ValueError: the file has another layout.
    """
    with path.open("rb+") as file:
        last = list(top_level(file))[-1]
        if last.kind != b"moov":
            raise ValueError(f"the last box of {path} is {last.kind!r}, expected b'moov'")
        file.seek(last.offset)
        moov = file.read(last.size)
        moov = _append(moov, _SAMPLE_ENTRY, _version_2())
        moov = _append(moov, _SAMPLE_ENTRY[:2], _version_1())
        file.seek(last.offset)
        file.write(moov)


def _append(boxes: bytes, path: tuple[bytes, ...], addition: bytes) -> bytes:
    """Append `addition` to the box at `path` in a sequence of boxes, and update all sizes."""
    for box, body in inside(boxes):
        if box.kind == path[0] and (box.kind != b"trak" or _is_video_track(body)):
            start = _BEFORE_CHILDREN.get(box.kind, 0)
            body = body[:start] + _append(body[start:], path[1:], addition) if path[1:] else body + addition
            return boxes[: box.offset] + make_box(box.kind, body) + boxes[box.offset + box.size :]
    raise ValueError(f"there is no box {path[0]!r} in the index")


def _is_video_track(track: bytes) -> bool:
    """Return whether a track holds video. Source: ISO/IEC 14496-12, 8.4.3."""
    handler = find(track, b"mdia", b"hdlr")
    return handler is not None and handler[8:12] == b"vide"


def _version_1() -> bytes:
    return make_box(b"uuid", SPHERICAL_UUID.bytes + _XML.encode())


def _version_2() -> bytes:
    mono = make_full_box(b"st3d", b"\0")
    source = make_full_box(b"svhd", b"deepsphere_codec\0")
    pose = make_full_box(b"prhd", struct.pack(">iii", 0, 0, 0))  # yaw, pitch, roll
    bounds = make_full_box(b"equi", struct.pack(">IIII", 0, 0, 0, 0))  # nothing cut off at top, bottom, left, right
    return mono + make_box(b"sv3d", source + make_box(b"proj", pose + bounds))
