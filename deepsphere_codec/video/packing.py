"""Serialisation of tags, audio tracks and audio packets, which a stream carries as opaque bytes.

Numbers are little-endian; varints, including signed ones, are those of `cursor`. Every length is checked against the
remaining bytes before memory of that size is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from deepsphere_codec.bitstream.cursor import Cursor, varint, zigzag
from deepsphere_codec.video.metadata import MAX_KEY, MAX_VALUE
from deepsphere_codec.video.template import CARRIED
from deepsphere_codec.video.tracks import AudioTrack, TrackPacket, is_layout

MAX_CHANNELS = 255
MAX_RATE = 1 << 22
"""Largest number of samples per second."""
MAX_TICK = (1 << 31) - 1
"""Largest numerator and denominator of a time base; FFmpeg's are 32 bits, signed."""
MAX_TIME = 1 << 62

_TRACK = struct.Struct("<IIIBB")  # time base: numerator, denominator; sample rate, channels, 1 if default
_PACKETS = struct.Struct("<HIq")  # track, number of packets, dts that the first is relative to
_SHORTEST_PACKET = 4
"""Smallest size of a packet in bytes: four varints."""


def pack_tags(tags: Mapping[str, str]) -> bytes:
    """Serialise tags: their number u16; for each the key as length u8 and UTF-8, the value as length u16 and UTF-8.

    Raises:
        ValueError: there are too many, or one is longer than `own_tags` allows.
    """
    parts = [_sized("<H", len(tags))]
    for key, value in tags.items():
        _check_tag(key, value)
        parts += [_text("<B", key), _text("<H", value)]
    return b"".join(parts)


def unpack_tags(data: bytes) -> dict[str, str]:
    """Deserialise tags written by `pack_tags`.

    Raises:
        ValueError: the bytes are not valid tags.
    """
    cursor = Cursor(data)
    tags = _tags(cursor)
    cursor.end()
    return tags


def pack_track(track: AudioTrack) -> bytes:
    """Serialise an audio track.

    Fields: numerator and denominator of the time base u32, sample rate u32, channels u8, 1 if it is the default track
    else 0 u8; codec and layout as length u8 and ASCII; extradata as length u32 and bytes; tags as in `pack_tags`.

    Raises:
        ValueError: a value is not valid or cannot be stored.
    """
    _check_track(track)
    base = track.time_base
    numbers = _TRACK.pack(base.numerator, base.denominator, track.sample_rate, track.channels, track.default)
    names = _text("<B", track.codec) + _text("<B", track.layout)
    return numbers + names + _sized("<I", len(track.extradata)) + track.extradata + pack_tags(track.tags)


def unpack_track(data: bytes) -> AudioTrack:
    """Deserialise a track written by `pack_track`.

    Raises:
        ValueError: the bytes are not a valid track, or its codec is not carried.
    """
    cursor = Cursor(data)
    numerator, denominator, rate, channels, default = cursor.unpack(_TRACK)
    if not denominator or default > 1:
        raise ValueError(f"the time base is {numerator}/{denominator}, the default {default}")
    codec, layout = cursor.text("<B"), cursor.text("<B")
    extradata = cursor.sized("<I")
    base = Fraction(numerator, denominator)
    track = AudioTrack(codec, extradata, base, rate, channels, layout, bool(default), _tags(cursor))
    _check_track(track)
    cursor.end()
    return track


def pack_packets(packets: Sequence[TrackPacket]) -> bytes:
    """Serialise consecutive packets of one track, in order of decoding.

    Fields: number of the track u16, number of packets u32, a time i64 that the first packet's dts is relative to. For
    each packet: dts minus that of the previous packet as signed varint, pts - dts as signed varint, duration as varint,
    2 * size + (1 for a keyframe) as varint, its bytes.

    Raises:
        ValueError: there are none, they are of several tracks, or a number is out of range.
    """
    if not packets or any(packet.track != packets[0].track for packet in packets):
        raise ValueError("packets of one track are packed together, at least one")
    last = packets[0].dts
    _check_times(last, last, 0)
    parts = [_PACKETS.pack(_checked(packets[0].track, 1 << 16), _checked(len(packets), 1 << 32), last)]
    for packet in packets:
        _check_times(packet.pts, packet.dts, packet.duration)
        numbers = (zigzag(packet.dts - last), zigzag(packet.pts - packet.dts), packet.duration)
        parts += [*map(varint, numbers), varint(len(packet.data) << 1 | packet.is_keyframe), packet.data]
        last = packet.dts
    return b"".join(parts)


def unpack_packets(data: bytes) -> list[TrackPacket]:
    """Deserialise packets written by `pack_packets`.

    Raises:
        ValueError: the bytes are not valid packets.
    """
    cursor = Cursor(data)
    track, count, dts = cursor.unpack(_PACKETS)
    if not 0 < count <= cursor.left // _SHORTEST_PACKET:
        raise ValueError(f"{count} packets cannot lie in {cursor.left} bytes")
    packets: list[TrackPacket] = []
    for _ in range(count):
        dts += cursor.signed_varint()
        pts, duration, size = dts + cursor.signed_varint(), cursor.varint(), cursor.varint()
        _check_times(pts, dts, duration)
        packets.append(TrackPacket(track, pts, dts, duration, bool(size & 1), cursor.take(size >> 1)))
    cursor.end()
    return packets


def _tags(cursor: Cursor) -> dict[str, str]:
    (count,) = cursor.unpack(struct.Struct("<H"))
    tags: dict[str, str] = {}
    for _ in range(count):
        key, value = cursor.text("<B"), cursor.text("<H")
        _check_tag(key, value)
        if key in tags:
            raise ValueError(f"the tag {key!r} is there twice")
        tags[key] = value
    return tags


def _check_tag(key: str, value: str) -> None:
    if not 0 < len(key.encode()) <= MAX_KEY or len(value.encode()) > MAX_VALUE or "\0" in key + value:
        raise ValueError(f"the tag {key[:40]!r} is empty, too long or holds a zero")


def _check_track(track: AudioTrack) -> None:
    base = track.time_base
    if track.codec not in CARRIED or not is_layout(track.layout):
        raise ValueError(f"a track of {track.codec[:40]!r}, {track.layout[:40]!r}, is not carried")
    if not (0 < base.numerator <= MAX_TICK and base.denominator <= MAX_TICK):
        raise ValueError(f"the time base is {base}, expected up to {MAX_TICK} above and below")
    if not (0 < track.sample_rate <= MAX_RATE and 0 < track.channels <= MAX_CHANNELS):
        raise ValueError(f"a track of {track.channels} channels with {track.sample_rate} Hz")


def _check_times(pts: int, dts: int, duration: int) -> None:
    if not (-MAX_TIME < pts < MAX_TIME and -MAX_TIME < dts < MAX_TIME and 0 <= duration < MAX_TIME):
        raise ValueError(f"times {pts}, {dts}, {duration} are out of range")


def _checked(number: int, limit: int) -> int:
    if not 0 <= number < limit:
        raise ValueError(f"got {number}, expected less than {limit}")
    return number


def _sized(form: str, length: int) -> bytes:
    return struct.pack(form, _checked(length, 1 << 8 * struct.calcsize(form)))


def _text(form: str, text: str) -> bytes:
    data = text.encode()
    return _sized(form, len(data)) + data
