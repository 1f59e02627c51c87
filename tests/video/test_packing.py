"""Tracks, packets and tags as bytes and back; and bytes that nobody packed."""

from __future__ import annotations

import struct
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from deepsphere_codec.bitstream.cursor import varint
from deepsphere_codec.video import (
    AudioTrack,
    TrackPacket,
    pack_packets,
    pack_tags,
    pack_track,
    unpack_packets,
    unpack_tags,
    unpack_track,
)
from deepsphere_codec.video.template import CARRIED

TRACK = AudioTrack("aac", b"\x11\x90\x56\xe5\x00", Fraction(1, 48000), 48000, 2, "stereo", True, {"language": "deu"})
TAGS = {"title": "Rundgang – 全景", "date": "2024-05-01", "comment": "", "LOCATION": "+48.1+011.5/"}
PACKETS = [
    TrackPacket(3, -1024, -1024, 1024, True, b"first"),
    TrackPacket(3, 0, 0, 1024, True, b""),
    TrackPacket(3, 5000, 1024, 0, False, bytes(range(256)) * 3),
    TrackPacket(3, -7, -7, 1, False, b"earlier than the one before"),
    TrackPacket(3, (1 << 62) - 1, -(1 << 62) + 1, (1 << 62) - 1, True, b"\xff"),
]
KINDS = [
    (unpack_tags, pack_tags(TAGS)),
    (unpack_track, pack_track(TRACK._replace(tags=TAGS))),
    (unpack_packets, pack_packets(PACKETS)),
]


def test_there_and_back() -> None:
    assert unpack_tags(pack_tags(TAGS)) == TAGS and unpack_tags(pack_tags({})) == {}
    assert unpack_packets(pack_packets(PACKETS)) == PACKETS
    for codec in CARRIED:
        for layout in ("mono", "5.1(side)", "7 channels", "ambisonic 3"):
            for base in (Fraction(1, 1000), Fraction(1001, 30000), Fraction(1), Fraction((1 << 31) - 1)):
                track = AudioTrack(codec, bytes(1000), base, 44100, 255, layout, False, TAGS)
                assert unpack_track(pack_track(track)) == track


def test_they_take_few_bytes_beside_the_audio() -> None:
    packets = [TrackPacket(0, 1024 * number, 1024 * number, 1024, True, bytes(370)) for number in range(40)]
    assert len(pack_packets(packets)) <= 14 + 40 * (370 + 7)


@pytest.mark.parametrize("change", [
    {"codec": "h264"}, {"codec": ""}, {"layout": "FR+FL"}, {"layout": ""}, {"layout": "x" * 33}, {"channels": 0},
    {"channels": 256}, {"sample_rate": 0}, {"sample_rate": 1 << 23}, {"time_base": Fraction(0)},
    {"time_base": Fraction(-1, 2)}, {"time_base": Fraction(1, 1 << 31)}, {"tags": {"": "empty"}},
    {"tags": {"a" * 256: ""}}, {"tags": {"a": "b" * 65536}}, {"tags": {"a": "b\0c"}},
], ids=str)  # fmt: skip
def test_tracks_that_are_none(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        pack_track(TRACK._replace(**change))


@pytest.mark.parametrize("packets", [
    [], [PACKETS[0], PACKETS[0]._replace(track=1)], [PACKETS[0]._replace(track=-1)], [PACKETS[0]._replace(track=65536)],
    [PACKETS[0]._replace(pts=1 << 62)], [PACKETS[0]._replace(dts=-1 << 62)], [PACKETS[0]._replace(duration=-1)],
], ids=str)  # fmt: skip
def test_packets_that_are_none(packets: list[TrackPacket]) -> None:
    with pytest.raises(ValueError):
        pack_packets(packets)


@pytest.mark.parametrize(("unpack", "data"), KINDS)
def test_any_beginning_and_any_addition_is_refused(unpack: object, data: bytes) -> None:
    assert callable(unpack)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            unpack(data[:length])
    with pytest.raises(ValueError, match="more than its fields take"):
        unpack(data + b"\0")


@pytest.mark.parametrize(("unpack", "data"), KINDS)
def test_noise_is_refused_or_read_but_never_more(unpack: object, data: bytes) -> None:
    """Bytes are changed, parts cut out and doubled: ValueError or a result, little memory."""
    assert callable(unpack)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(bad)))
            match rng.integers(3):
                case 0:
                    bad[at] = int(rng.integers(256))
                case 1:
                    bad[at : at + int(rng.integers(1, 9))] = b""
                case _:
                    bad[at:at] = bad[max(0, at - 8) : at] or b"\xff"
            bad = bad or bytearray(b"\0")
        try:
            unpack(bytes(bad))
        except ValueError as error:
            assert len(str(error)) < 400
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_lengths_that_promise_too_much() -> None:
    huge = struct.pack("<HIq", 0, (1 << 32) - 1, 0) + bytes(100)
    with pytest.raises(ValueError, match="cannot lie in 100 bytes"):
        unpack_packets(huge)
    long = struct.pack("<HIq", 0, 1, 0) + b"\0\0\0" + varint(1 << 60)
    with pytest.raises(ValueError, match="bytes due at byte"):
        unpack_packets(long)
    with pytest.raises(ValueError, match="not written as it should be"):
        unpack_packets(struct.pack("<HIq", 0, 1, 0) + b"\xff" * 20)
    with pytest.raises(ValueError, match="twice"):
        unpack_tags(b"\2\0" + 2 * b"\1a\0\0")
