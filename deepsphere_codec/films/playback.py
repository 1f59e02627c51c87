"""The frames of a stream in the order in which they are shown, past what is damaged if need be."""

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
    """A picture, and when it is shown, in ticks of the film; times grow."""

    picture: YuvFrame
    time: int


class Playback:
    """Decodes a range of frames, once.

    Args:
        stream: Read from the I-frame before the range on.
        decode: What makes pictures of its records.
        info: Of the film, for its clock.
        first, stop: Half-open range of frames; `stop` None for all.
        keep_going: Go past damages: what is lost of a GOP is filled with the last frame that is sound, before the first
            sound one with that. Otherwise the first damage is raised.
    Attributes:
        damages: Gone past so far.
        filled: Frames that stand in for lost ones so far.
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
        """As `events`, without what lies beside the frames."""
        return (event for event in self.events() if isinstance(event, ShownPicture))

    def events(self) -> Iterator[ShownPicture | Other]:
        """The pictures of the range, and what lies beside the frames of its GOPs.

        Raises:
            DamagedStream: where a frame is damaged and we do not keep going, or nothing at all is sound.
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
        """Damages found inside are noted where we keep going, otherwise raised with the stream's name."""
        try:
            yield
        except DamagedStream as damage:
            told = DamagedStream(f"{self._stream.name}: {where}{damage}")
            if not self._keep_going:
                raise told from damage
            self.damages.append(told)

    def _records(self) -> Iterator[CodedFrame | Other]:
        on_damage = self.damages.append if self._keep_going else None
        return self._stream.records(self._first, self._stop, on_damage=on_damage)

    def _end(self, due: int) -> int:
        """The number behind the last frame that should come, as far as the stream tells."""
        count = self._stream.frame_count
        if count is None:
            return due
        return count if self._stop is None else min(count, self._stop)

    def _stand_ins(self, count: int, after: YuvFrame, end: int | None = None) -> Iterator[ShownPicture]:
        """For so many lost frames, with times evenly spread up to `end`."""
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
