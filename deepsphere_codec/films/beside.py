"""Audio (copied as it is stored) and tags of a film, in records that a decoder of pictures may skip."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from deepsphere_codec.bitstream import Other
from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.video import (
    Span,
    TrackPacket,
    Tracks,
    VideoInfo,
    cut,
    pack_packets,
    pack_tags,
    pack_track,
    unpack_packets,
    unpack_tags,
    unpack_track,
)

FILM_TAGS, PICTURE_TAGS, TRACK, PACKETS = "m", "v", "t", "a"
PACKETS_TOGETHER = 16
"""Number of audio packets in a record, fewer at the end of a GOP: a third of a second of AAC."""


def preface_of(tracks: Tracks) -> Iterator[Other]:
    """Create the records that precede the first frame.

    Raises:
        UsageError: a tag or a track cannot be stored.
    """
    try:
        if tracks.tags:
            yield Other(FILM_TAGS, pack_tags(tracks.tags))
        if tracks.video_tags:
            yield Other(PICTURE_TAGS, pack_tags(tracks.video_tags))
        for track in tracks.audio:
            yield Other(TRACK, pack_track(track))
    except ValueError as error:
        raise _cannot_be_carried(error) from error


def tracks_of(preface: Sequence[Other]) -> Tracks:
    """Decode the audio tracks and tags in the records before the first frame.

    Raises:
        DamagedStream: a record is not valid.
    """
    tracks = Tracks()
    for other in preface:
        with _sense(other):
            if other.kind == FILM_TAGS:
                tracks = tracks._replace(tags=unpack_tags(other.body))
            elif other.kind == PICTURE_TAGS:
                tracks = tracks._replace(video_tags=unpack_tags(other.body))
            elif other.kind == TRACK:
                tracks = tracks._replace(audio=(*tracks.audio, unpack_track(other.body)))
    return tracks


class SoundIn:
    """Distribution of a film's audio packets to its frames, so that each GOP contains its audio.

    A packet belongs to the first frame that ends after the packet's decoding time, or else to the last frame. Packets
    are written after the frame's group, or later together with others, but in the same GOP.

    Args:
        packets: Packets in order, with times relative to the first frame.
        tracks: Their tracks.
        info: Properties of the film, for its clock.
    """

    def __init__(self, packets: Iterator[TrackPacket], tracks: Tracks, info: VideoInfo) -> None:
        self._packets = packets
        self._time_bases = [track.time_base for track in tracks.audio]
        self._tick, self._duration = info.tick, 1 / info.fps
        self._next = next(packets, None)
        self._waiting: list[list[TrackPacket]] = [[] for _ in tracks.audio]

    def until(self, pts: int) -> list[Other]:
        """Return the records to write after the frames up to the one shown at `pts`, ticks."""
        self._take(pts * self._tick + self._duration)
        return self._written(PACKETS_TOGETHER)

    def rest_of_gop(self) -> list[Other]:
        """Return the records to write before an I-frame."""
        return self._written(1)

    def rest(self) -> list[Other]:
        """Return the records to write after the last frame."""
        self._take(None)
        return self._written(1)

    def _take(self, end: Fraction | None) -> None:
        while (packet := self._next) is not None:
            if end is not None and packet.dts * self._time_bases[packet.track] >= end:
                return
            self._waiting[packet.track].append(packet)
            self._next = next(self._packets, None)

    def _written(self, at_least: int) -> list[Other]:
        others = []
        for waiting in self._waiting:
            if len(waiting) >= at_least:
                others += [_packed(waiting[i : i + PACKETS_TOGETHER]) for i in range(0, len(waiting), PACKETS_TOGETHER)]
                waiting.clear()
        return others


class SoundOut:
    """Selection of a stream's audio packets that belong to a range of frames, with times relative to the range.

    Args:
        tracks: Audio tracks of the stream.
        info: Properties of the film, for its clock.
        from_start: Whether the range begins with the film's first frame; earlier audio is then included.
        to_end: Whether the range ends with the film's last frame; later audio is then included.
    """

    def __init__(self, tracks: Tracks, info: VideoInfo, *, from_start: bool, to_end: bool) -> None:
        self._time_bases = [track.time_base for track in tracks.audio]
        self._tick, self._duration = info.tick, 1 / info.fps
        self._from_start, self._to_end = from_start, to_end
        self._zero: Fraction | None = None
        self._stop: Fraction | None = None
        self._waiting: deque[TrackPacket] = deque()

    def shown(self, time: int) -> None:
        """Record that a frame of the range is shown at this time, in ticks of the film."""
        start = time * self._tick
        self._zero = start if self._zero is None else self._zero
        self._stop = None if self._to_end else start + self._duration

    def take(self, other: Other) -> None:
        """Add a record that is not a frame.

        Raises:
            DamagedStream: the record is not valid.
        """
        if other.kind != PACKETS or not self._time_bases:
            return
        with _sense(other):
            packets = unpack_packets(other.body)
            if packets[0].track >= len(self._time_bases):
                raise ValueError(f"a packet of track {packets[0].track}, there are {len(self._time_bases)}")
            self._waiting.extend(packets)

    def due(self) -> Iterator[TrackPacket]:
        """Iterate over the packets that are now known to belong to the range, each once."""
        if self._zero is None:
            return
        span = Span(None if self._from_start else self._zero, self._stop, self._zero)
        packets, self._waiting = self._waiting, deque()
        yield from cut(packets, self._time_bases, span)


@contextmanager
def _sense(other: Other) -> Iterator[None]:
    """Convert a ValueError about a record's content to DamagedStream."""
    try:
        yield
    except ValueError as error:
        record = f"the record {other.kind!r} at byte {other.offset}"
        raise DamagedStream(f"{record} makes no sense: {error}") from error


def _packed(packets: Sequence[TrackPacket]) -> Other:
    try:
        return Other(PACKETS, pack_packets(packets))
    except ValueError as error:
        raise _cannot_be_carried(error) from error


def _cannot_be_carried(error: ValueError) -> UsageError:
    return UsageError(f"the film's audio or tags cannot be carried ({error}); leave them out with --pictures-only")
