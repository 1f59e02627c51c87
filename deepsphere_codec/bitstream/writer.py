"""Writes a `.dsc` file from front to back; nothing written is touched again, so the file may be a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

from deepsphere_codec.bitstream.header import Header, prologue
from deepsphere_codec.bitstream.layout import (
    CRC,
    END,
    END_MAGIC,
    FRAME_TYPES,
    KEYFRAME,
    MAX_BODY,
    TRAILER,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.bitstream.partial import Partial
from deepsphere_codec.bitstream.records import End, Frame, Gop, Other, pack_end, pack_frame
from deepsphere_codec.cursor import varint


class StreamWriter:
    """Records, then the end record, which holds the index.

    As a context manager it writes the end when the block ends well; after an exception the file stays without one and
    counts as truncated. The file object stays open either way: it is the caller's.

    Args:
        file: Open for writing in binary mode, where the next byte is to go.
        header: Written at once.
        after: What is there already of the same stream; nothing unless given.
    """

    def __init__(self, file: BinaryIO, header: Header, after: Partial | None = None) -> None:
        self._file = file
        self._timed = header.timed
        front = prologue(header)
        (self._crc,) = CRC.unpack(front[-CRC.size :])
        self._gops: list[Gop] = list(after.gops) if after else []
        self._last: Frame | None = after.last if after else None
        self._closed = False
        self.size = after.size if after else 0
        """Bytes so far."""
        self.beside = after.beside if after else 0
        """Of them, those of records that are no frames."""
        if after is None:
            self._put(front)

    @property
    def frame_count(self) -> int:
        """Frames written."""
        return 0 if self._last is None else self._last.number + 1

    def write(self, kind: str, payload: bytes, check: int = 0, time: int | None = None) -> None:
        """Append the next frame.

        Args:
            kind: "I" or "P".
            check, time: As `Frame` has them.
        Raises:
            ValueError: it is of another kind, or a P-frame without an I-frame, a time is there that should not be or
                the other way round, or lies before the last; or the writer is closed.
        """
        if kind not in FRAME_TYPES:
            raise ValueError(f"frame type is {kind!r}, expected one of {FRAME_TYPES}")
        if self._last is None and kind != KEYFRAME:
            raise ValueError("the first frame is a P-frame, expected an I-frame")
        if (time is not None) != self._timed:
            raise ValueError(f"the frame's time is {time}, the header says that frames {_times(self._timed)}")
        if time is not None and time < (self._last.time or 0 if self._last else 0):
            raise ValueError(f"frame {self.frame_count} is shown at {time}, before the frame before it")
        frame = Frame(kind, self.frame_count, payload, check, time, self.size)
        place = 0 if kind == KEYFRAME else self.frame_count - self._gops[-1].number
        self._append(kind, pack_frame(frame, self._last), place)
        if kind == KEYFRAME:
            self._gops.append(Gop(frame.number, frame.offset))
        self._last = frame

    def write_other(self, other: Other) -> None:
        """Append something beside the frames.

        Raises:
            ValueError: its kind is no lower-case letter, or the writer is closed.
        """
        if not (len(other.kind) == 1 and "a" <= other.kind <= "z"):
            raise ValueError(f"kind is {other.kind!r}, expected a letter from a to z")
        before = self.size
        self._append(other.kind, other.body)
        self.beside += self.size - before

    def close(self) -> None:
        """Write the end record and the trailer; a second call does nothing."""
        if self._closed:
            return
        start = self.size
        self._append(END, pack_end(End(self.frame_count, self._gops)))
        self._put(TRAILER.pack(start, trailer_crc(self._crc, start), END_MAGIC))
        self._closed = True

    def _append(self, kind: str, body: bytes, place: int = 0) -> None:
        if self._closed:
            raise ValueError("the stream is closed: its end is written")
        if len(body) > MAX_BODY:
            raise ValueError(f"the record takes {len(body)} bytes, expected at most {MAX_BODY}")
        crc = record_crc(self._crc, place, ord(kind), body)
        self._put(b"".join([kind.encode(), varint(len(body)), CRC.pack(crc), body]))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def _times(timed: bool) -> str:
    return "have times" if timed else "lie evenly"
