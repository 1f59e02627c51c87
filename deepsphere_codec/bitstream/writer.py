"""Writer of `.dsc` files, strictly sequential, so that the file may be a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

from deepsphere_codec.bitstream.cursor import varint
from deepsphere_codec.bitstream.header import Header, prologue
from deepsphere_codec.bitstream.layout import (
    CRC,
    END,
    END_MAGIC,
    KEYFRAME,
    MAX_BODY,
    TRAILER,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.bitstream.order import PictureOrder
from deepsphere_codec.bitstream.partial import Partial
from deepsphere_codec.bitstream.records import CodedFrame, End, Gop, Other, pack_end, pack_frame, record_kind


class StreamWriter:
    """Writer of a stream's records and of the end record, which holds the index.

    As a context manager it writes the end when the block ends without an exception; otherwise the file has no end and
    counts as truncated. The file object is not closed; it belongs to the caller.

    Args:
        file: File open for writing in binary mode, at the position of the next byte.
        header: Header of the stream, which is written immediately.
        after: Part of the same stream that is already written, to be continued; None for a new stream.
    """

    def __init__(self, file: BinaryIO, header: Header, after: Partial | None = None) -> None:
        self._file = file
        self._timed = header.timed
        front = prologue(header)
        (self._crc,) = CRC.unpack(front[-CRC.size :])
        self._gops: list[Gop] = list(after.gops) if after else []
        self.frame_count = after.frames if after else 0
        """Number of frames written."""
        self._order = PictureOrder(self.frame_count)
        self._closed = False
        self.size = after.size if after else 0
        """Number of bytes written."""
        self.beside = after.beside if after else 0
        """Number of bytes written in records that are not frames."""
        if after is None:
            self._put(front)

    @property
    def is_whole(self) -> bool:
        """Whether the last group is complete."""
        return self._order.is_whole

    def write(self, kind: str, payload: bytes, check: int = 0, time: int | None = None, span: int = 1) -> CodedFrame:
        """Append the next frame in order of coding.

        Args:
            kind: Frame type, "I", "P" or "B".
            payload: Bytes that the model wrote.
            check: Checksum of the decoded latents.
            time: Display time in ticks; None if the header says that frames are evenly spaced.
            span: For a P-frame, number of pictures in the group that it begins: 1, 2, 4 or 8.
        Returns:
            The frame as a reader will find it, with its number and offset in the file.
        Raises:
            ValueError: such a frame cannot come next; the time is missing, not expected, or not between those of its
                neighbours; or the writer is closed.
        """
        if (time is not None) != self._timed:
            raise ValueError(f"the frame's time is {time}, the header says that frames {_times(self._timed)}")
        position = self._order.next(kind, span)
        frame = CodedFrame(position, payload, check, time, self.size)
        since = self._order.since(position)
        if time is not None:
            self._order.shown(position, time)
        self._append(record_kind(position), pack_frame(frame, since), self._order.place - 1)
        if kind == KEYFRAME:
            self._gops.append(Gop(frame.number, frame.offset))
        self.frame_count += 1
        return frame

    def write_other(self, other: Other) -> None:
        """Append a record that is not a frame.

        Raises:
            ValueError: its kind is not a lower-case letter, or the writer is closed.
        """
        if not (len(other.kind) == 1 and "a" <= other.kind <= "z"):
            raise ValueError(f"kind is {other.kind!r}, expected a letter from a to z")
        start = self.size
        self._append(other.kind, other.body)
        self.beside += self.size - start

    def close(self) -> None:
        """Write the end record and the trailer; a second call does nothing.

        Raises:
            ValueError: B-frames of the last group are missing.
        """
        if self._closed:
            return
        if not self._order.is_whole:
            raise ValueError(f"frame {self._order.due} is missing: a group is not whole")
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
