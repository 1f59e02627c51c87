"""What lies beside the pictures: audio as it is stored, and tags, in records that a decoder may pass over."""

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
"""In a record, or as many as a GOP's end leaves: a third of a second of AAC."""


def preface_of(tracks: Tracks) -> Iterator[Other]:
    """The records that go before the first frame.

    Raises:
        UsageError: something cannot be held.
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
    """What the records before the first frame tell.

    Raises:
        DamagedStream: they make no sense.
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
    """Deals out a film's audio to its frames, so that each GOP has what sounds with it.

    To a frame belong the packets that are decoded before its end, as far as no frame before had them; to the last frame
    the rest. They are written behind the frame's group, or later, together with others, but in the same GOP.

    Args:
        packets: In order, with times that count from the first frame.
        tracks: That they are of.
        info: Of the film, for its clock.
    """

    def __init__(self, packets: Iterator[TrackPacket], tracks: Tracks, info: VideoInfo) -> None:
        self._packets = packets
        self._time_bases = [track.time_base for track in tracks.audio]
        self._tick, self._duration = info.tick, 1 / info.fps
        self._next = next(packets, None)
        self._waiting: list[list[TrackPacket]] = [[] for _ in tracks.audio]

    def until(self, pts: int) -> list[Other]:
        """Records to write once all frames up to the one that is shown at `pts` are written."""
        self._take(pts * self._tick + self._duration)
        return self._written(PACKETS_TOGETHER)

    def rest_of_gop(self) -> list[Other]:
        """Records to write before an I-frame."""
        return self._written(1)

    def rest(self) -> list[Other]:
        """What is to be written behind the last frame."""
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
    """Picks out of a stream the audio that belongs to a range of frames, on the range's clock.

    Args:
        tracks: Of the stream.
        info: Of the film, for its clock.
        from_start, to_end: Whether the range begins with the film's first frame, and ends with its last: what sounds
            before and after goes with them.
    """

    def __init__(self, tracks: Tracks, info: VideoInfo, *, from_start: bool, to_end: bool) -> None:
        self._time_bases = [track.time_base for track in tracks.audio]
        self._tick, self._duration = info.tick, 1 / info.fps
        self._from_start, self._to_end = from_start, to_end
        self._zero: Fraction | None = None
        self._stop: Fraction | None = None
        self._waiting: deque[TrackPacket] = deque()

    def shown(self, time: int) -> None:
        """A frame of the range is shown at this time, in ticks of the film."""
        start = time * self._tick
        self._zero = start if self._zero is None else self._zero
        self._stop = None if self._to_end else start + self._duration

    def take(self, other: Other) -> None:
        """Look at a record beside the frames.

        Raises:
            DamagedStream: it makes no sense.
        """
        if other.kind != PACKETS or not self._time_bases:
            return
        with _sense(other):
            packets = unpack_packets(other.body)
            if packets[0].track >= len(self._time_bases):
                raise ValueError(f"a packet of track {packets[0].track}, there are {len(self._time_bases)}")
            self._waiting.extend(packets)

    def due(self) -> Iterator[TrackPacket]:
        """The packets that are known to belong to the range, once."""
        if self._zero is None:
            return
        span = Span(None if self._from_start else self._zero, self._stop, self._zero)
        packets, self._waiting = self._waiting, deque()
        yield from cut(packets, self._time_bases, span)


@contextmanager
def _sense(other: Other) -> Iterator[None]:
    """Tells what makes no sense in a record as damage."""
    try:
        yield
    except ValueError as error:
        where = f"the record {other.kind!r} at byte {other.offset}"
        raise DamagedStream(f"{where} makes no sense: {error}") from error


def _packed(packets: Sequence[TrackPacket]) -> Other:
    try:
        return Other(PACKETS, pack_packets(packets))
    except ValueError as error:
        raise _cannot_be_carried(error) from error


def _cannot_be_carried(error: ValueError) -> UsageError:
    return UsageError(f"the film's audio or tags cannot be carried ({error}); leave them out with --pictures-only")
