"""The frames of a stream in the order in which they are shown, past what is damaged if need be."""

from __future__ import annotations

from collections.abc import Iterator

from deepsphere_codec.bitstream import Frame, StreamReader
from deepsphere_codec.codec import VideoDecoder
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.video import YuvFrame


class Playback:
    """Decodes a range of frames, once.

    Args:
        stream: Read from the I-frame before the range on.
        decoder: Of its header.
        first, stop: Half-open range of frames; `stop` None for all.
        keep_going: Go past damages: what is lost of a GOP is filled with the last frame that is sound, before the first
            sound one with that. Otherwise the first damage is raised.
    Attributes:
        damages: Gone past so far.
        filled: Frames that stand in for lost ones so far.
    """

    def __init__(
        self, stream: StreamReader, decoder: VideoDecoder, first: int, stop: int | None, *, keep_going: bool = False
    ) -> None:
        self._stream, self._decoder = stream, decoder
        self._first, self._stop = first, stop
        self._keep_going = keep_going
        self._shown: YuvFrame | None = None
        self.damages: list[DamagedStream] = []
        self.filled = 0

    def frames(self) -> Iterator[YuvFrame]:
        """The pictures of the range.

        Raises:
            DamagedStream: where a frame is damaged and we do not keep going, or nothing at all is sound.
        """
        due = self._first
        for frame in self._sound_frames():
            picture = self._decoded(frame)
            if picture is None or frame.number < self._first:
                continue
            yield from self._stand_ins(due, frame.number, picture)
            self._shown, due = picture, frame.number + 1
            yield picture
        if self._keep_going and self._shown is not None:
            count = self._stream.frame_count
            end = due if count is None else count if self._stop is None else min(count, self._stop)
            yield from self._stand_ins(due, end, self._shown)
        if self._shown is None and self.damages:
            raise self.damages[0]

    def _sound_frames(self) -> Iterator[Frame]:
        for frame in self._stream.frames(self._first, on_damage=self.damages.append if self._keep_going else None):
            if self._stop is not None and frame.number >= self._stop:
                return
            yield frame

    def _decoded(self, frame: Frame) -> YuvFrame | None:
        """The picture; None of a frame that is only on the way to the range, or lost."""
        try:
            x_hat = self._decoder.decode(frame.kind, frame.payload, frame.check)
        except DamagedStream as damage:
            where = f"{self._stream.name}: frame {frame.number} at byte {frame.offset}: {damage}"
            if not self._keep_going:
                raise DamagedStream(where) from damage
            had_reference = self._decoder.forget()
            if had_reference or frame.kind == "I":  # once for a GOP: without the reference all that follows is lost
                self.damages.append(DamagedStream(where))
            return None
        return self._decoder.frame(x_hat) if frame.number >= self._first else None

    def _stand_ins(self, due: int, end: int, after: YuvFrame) -> Iterator[YuvFrame]:
        for _ in range(due, end):
            self.filled += 1
            yield self._shown or after
