"""Decoding of a stream's frames in order of display, optionally continuing after damages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from deepsphere_codec.bitstream import CodedFrame, Other, StreamReader
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.films.gops import DecodedFrame
from deepsphere_codec.video import VideoInfo, YuvFrame

Decode = Callable[[Iterable[CodedFrame | Other]], Iterator[DecodedFrame | Other]]


class ShownPicture(NamedTuple):
    """A picture with its display time in ticks of the film; times increase."""

    picture: YuvFrame
    time: int


class Playback:
    """Decoding of a range of frames, once, in order of display.

    Args:
        stream: Reader of the stream, which is read from the I-frame before the range on.
        decode: Function that decodes records.
        info: Properties of the film, for its clock.
        first: First frame of the range.
        stop: End of the range (exclusive); None for all frames.
        keep_going: Continue after damages: lost frames are replaced by the last undamaged frame, or by the first one if
            there is none before them. Otherwise the first damage is raised.

    Attributes:
        damages: Damages so far.
        filled: Number of replaced frames so far.
    """

    def __init__(
        self,
        stream: StreamReader,
        decode: Decode,
        info: VideoInfo,
        first: int,
        stop: int | None,
        *,
        keep_going: bool = False,
    ) -> None:
        self._stream, self._decode = stream, decode
        self._first, self._stop = first, stop
        self._keep_going = keep_going
        self._duration = max(1, round(1 / (info.fps * info.tick)))
        self._last: ShownPicture | None = None
        self.damages: list[DamagedStream] = []
        self.filled = 0

    def pictures(self) -> Iterator[ShownPicture]:
        """Iterate over the pictures of the range."""
        return (event for event in self.events() if isinstance(event, ShownPicture))

    def events(self) -> Iterator[ShownPicture | Other]:
        """Iterate over the pictures of the range, and the other records of its GOPs.

        Raises:
            DamagedStream: a frame is damaged and `keep_going` is not set, or no frame is undamaged.
        """
        due = self._first
        for decoded in self._decode(self._records()):
            if isinstance(decoded, Other):
                yield decoded
                continue
            if decoded.damage:
                with self.noting(f"frame {decoded.frame.number} at byte {decoded.frame.offset}: "):
                    raise decoded.damage
            if decoded.picture is None:
                continue
            frame = decoded.frame
            yield from self._stand_ins(frame.number - due, decoded.picture, frame.ticks)
            yield self._at(decoded.picture, frame.ticks)
            due = frame.number + 1
        if self._keep_going and self._last is not None:
            yield from self._stand_ins(self._end(due) - due, self._last.picture)
        if self._last is None and self.damages:
            raise self.damages[0]

    @contextmanager
    def noting(self, where: str = "") -> Iterator[None]:
        """Record damages within the context if `keep_going` is set, otherwise raise them with the stream's name."""
        try:
            yield
        except DamagedStream as damage:
            named = DamagedStream(f"{self._stream.name}: {where}{damage}")
            if not self._keep_going:
                raise named from damage
            self.damages.append(named)

    def _records(self) -> Iterator[CodedFrame | Other]:
        on_damage = self.damages.append if self._keep_going else None
        return self._stream.records(self._first, self._stop, on_damage=on_damage)

    def _end(self, due: int) -> int:
        """End (exclusive) of the frames to expect, as far as the stream's length is known."""
        count = self._stream.frame_count
        if count is None:
            return due
        return count if self._stop is None else min(count, self._stop)

    def _stand_ins(self, count: int, after: YuvFrame, end: int | None = None) -> Iterator[ShownPicture]:
        """Replacements of lost frames, with times evenly spaced up to `end`."""
        for i in range(count):
            self.filled += 1
            left = count - i
            if self._last is None:
                yield self._at(after, max(0, (end or 0) - left * self._duration))
            elif end is None:
                yield self._at(self._last.picture, self._last.time + self._duration)
            else:
                yield self._at(self._last.picture, self._last.time + (end - self._last.time) // (left + 1))

    def _at(self, picture: YuvFrame, time: int) -> ShownPicture:
        grown = time if self._last is None else max(time, self._last.time + 1)
        self._last = ShownPicture(picture, grown)
        return self._last
