"""Sound from all around: which tracks of an .mp4 hold ambisonics, as its box SA3D says.

FFmpeg reads the box, but where the decoder knows a number of channels (AAC) that is all it tells: four channels of a
sphere would become four loudspeakers. Its muxer writes the box for tracks with a tag "SA3D".
Source: Google, Spatial Audio RFC (github.com/google/spatial-media/blob/master/docs/spatial-audio-rfc.md).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from deepsphere_codec.video.boxes import find, inside, top_level

TAG = "SA3D"
"""Of a track; its value is a channel layout as FFmpeg names it: "ambisonic 1", "ambisonic 1+stereo"."""

_BOX = struct.Struct(">I4sBBIBBI")  # size, kind, version, type, order, ordering, normalisation, channels
_HEAD_LOCKED = 0x80
"""In the type: two channels of stereo that do not turn with the head."""
MAX_INDEX = 1 << 28
"""Bytes; an index (`moov`) of a film of days is smaller."""


def ambisonic_tracks(path: Path) -> dict[int, str]:
    """The layouts of the tracks with a box SA3D, by their ids; empty for what is no .mp4, or damaged."""
    with suppress(ValueError, OSError, struct.error), path.open("rb") as file:
        for box in top_level(file):
            if box.kind == b"moov" and box.size <= MAX_INDEX:
                file.seek(box.offset)
                return _layouts(file.read(box.size))
    return {}


def _layouts(index: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for box, track in inside(find(index, b"moov") or b""):
        header = find(track, b"tkhd") if box.kind == b"trak" else None
        layout = _layout(find(track, b"mdia", b"minf", b"stbl", b"stsd") or b"") if header else None
        if header and layout:
            (number,) = struct.unpack_from(">I", header, 20 if header[0] else 12)  # ISO/IEC 14496-12, 8.3.2
            found[number] = layout
    return found


def _layout(descriptions: bytes) -> str | None:
    """Of the box SA3D, which lies behind fields of the codec's own; None without, or with channels in another order."""
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
