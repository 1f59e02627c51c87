"""Films written with audio and tags, as a decoder does."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from deepsphere_codec.video import (
    TrackPacket,
    Tracks,
    VideoInfo,
    YuvFrame,
    create_video,
    open_video,
    pack_packets,
    pack_tags,
    pack_track,
    read_packets,
    read_tracks,
    unpack_packets,
    unpack_tags,
    unpack_track,
)

INFO = VideoInfo(64, 32, Fraction(25), None, False, "bt709")


def grey(level: int = 90) -> YuvFrame:
    return YuvFrame(np.full((32, 64), level, np.uint8), *(np.full((16, 32), 120, np.uint8) for _ in range(2)))


def through_bytes(tracks: Tracks) -> Tracks:
    """As a stream would carry them."""
    audio = [unpack_track(pack_track(track)) for track in tracks.audio]
    return Tracks(unpack_tags(pack_tags(tracks.tags)), unpack_tags(pack_tags(tracks.video_tags)), audio)


def packets_through_bytes(packets: Iterator[TrackPacket]) -> Iterator[TrackPacket]:
    for packet in packets:
        yield from unpack_packets(pack_packets([packet]))


def copy_film(source: Path, target: Path, frames: tuple[int | None, int | None] | None = None) -> list[str]:
    """Frames and audio in step, as a decoder writes them; returns the notes."""
    tracks = through_bytes(read_tracks(source))
    with open_video(source, frames=frames) as reader, create_video(target, reader.info, tracks=tracks) as writer:
        packets = packets_through_bytes(read_packets(source, reader.span))
        packet = next(packets, None)
        for frame, pts in reader.timed():
            writer.write(frame, pts)
            while packet and packet.dts * tracks.audio[packet.track].time_base <= pts * reader.info.tick:
                writer.write_packet(packet)
                packet = next(packets, None)
        for late in ([packet] if packet else []) + list(packets):
            writer.write_packet(late)
    return writer.notes


def write_film(path: Path, tracks: Tracks, packets: list[TrackPacket], count: int = 3) -> list[str]:
    with create_video(path, INFO, tracks=tracks) as writer:
        for number in range(count):
            writer.write(grey(90 + number))
        for packet in packets:
            writer.write_packet(packet)
    return writer.notes
