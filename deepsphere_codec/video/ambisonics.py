"""Ambisonic audio: finds the tracks of an .mp4 with a box SA3D.

FFmpeg reads the box, but if the decoder reports a number of channels (AAC), FFmpeg reports that number only, and four
ambisonic channels would become four loudspeakers. Its muxer writes the box for tracks with a tag "SA3D".
Source: Google, Spatial Audio RFC (github.com/google/spatial-media/blob/master/docs/spatial-audio-rfc.md).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from deepsphere_codec.video.boxes import find, inside, top_level

TAG = "SA3D"
"""Key of a track's tag whose value is a channel layout with FFmpeg's name: "ambisonic 1", "ambisonic 1+stereo"."""

_BOX = struct.Struct(">I4sBBIBBI")  # size, kind, version, type, order, ordering, normalisation, channels
_HEAD_LOCKED = 0x80
"""Flag in the type: two additional stereo channels that do not rotate with the head."""
MAX_INDEX = 1 << 28
"""Largest size of an index (`moov`) in bytes; that of a film of several days is smaller."""


def ambisonic_tracks(path: Path) -> dict[int, str]:
    """Read the channel layouts of the tracks with a box SA3D, by track id; empty if the file is not an intact .mp4."""
    with suppress(ValueError, OSError, struct.error), path.open("rb") as file:
        for box in top_level(file):
            if box.kind == b"moov" and box.size <= MAX_INDEX:
                file.seek(box.offset)
                return _layouts(file.read(box.size))
    return {}


def _layouts(index: bytes) -> dict[int, str]:
    layouts: dict[int, str] = {}
    for box, track in inside(find(index, b"moov") or b""):
        header = find(track, b"tkhd") if box.kind == b"trak" else None
        layout = _layout(find(track, b"mdia", b"minf", b"stbl", b"stsd") or b"") if header else None
        if header and layout:
            (number,) = struct.unpack_from(">I", header, 20 if header[0] else 12)  # ISO/IEC 14496-12, 8.3.2
            layouts[number] = layout
    return layouts


def _layout(descriptions: bytes) -> str | None:
    """Channel layout from the box SA3D, which follows the codec's own fields; None without it or if unsupported."""
    at = descriptions.find(b"SA3D") - 4
    if at < 0 or len(descriptions) - at < _BOX.size:
        return None
    size, _, version, kind, order, ordering, normalisation, channels = _BOX.unpack_from(descriptions, at)
    if size != _BOX.size + 4 * channels or len(descriptions) - at < size:
        return None
    stereo = 2 if kind & _HEAD_LOCKED else 0
    plain = struct.unpack_from(f">{channels}I", descriptions, at + _BOX.size) == tuple(range(channels))
    if version or kind & ~_HEAD_LOCKED or ordering or normalisation or not plain:
        return None
    if channels != (order + 1) ** 2 + stereo:
        return None
    return f"ambisonic {order}" + "+stereo" * bool(stereo)
