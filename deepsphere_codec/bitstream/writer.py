"""Writes a `.dsc` file from front to back; nothing written is touched again, so the file may be a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

from deepsphere_codec.bitstream.header import Header, prologue
from deepsphere_codec.bitstream.layout import (
    CRC,
    END_MAGIC,
    FRAME_TYPES,
    INDEX_ENTRY,
    INDEX_TYPE,
    MAX_PAYLOAD,
    RECORD,
    TRAILER,
    record_crc,
    trailer_crc,
)


class StreamWriter:
    """Records, then an index.

    As a context manager it writes the index when the block ends well; after an exception the file stays without one and
    counts as truncated. The file object stays open either way: it is the caller's.

    Args:
        file: Open for writing in binary mode.
        header: Written at once.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        front = prologue(header)
        (self._crc,) = CRC.unpack(front[-CRC.size :])
        self._file.write(front)
        self._offset = len(front)
        self._entries: list[bytes] = []
        self._closed = False

    def write(self, frame_type: str, payload: bytes) -> None:
        """Append the next frame.

        Raises:
            ValueError: frame_type is neither "I" nor "P", the payload takes 4 GiB or more, or the writer is closed.
        """
        if self._closed:
            raise ValueError("the stream is closed: its index is written")
        if frame_type not in FRAME_TYPES:
            raise ValueError(f"frame type is {frame_type!r}, expected one of {FRAME_TYPES}")
        entry = INDEX_ENTRY.pack(ord(frame_type), self._offset)
        self._append(frame_type, payload)
        self._entries.append(entry)

    def close(self) -> None:
        """Write the index and the trailer; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        start = self._offset
        self._append(INDEX_TYPE, b"".join(self._entries))
        self._file.write(TRAILER.pack(start, trailer_crc(self._crc, start), END_MAGIC))

    def _append(self, kind: str, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"the payload takes {len(payload)} bytes, expected at most {MAX_PAYLOAD}")
        crc = record_crc(self._crc, len(self._entries), ord(kind), payload)
        self._file.write(RECORD.pack(ord(kind), len(payload), crc))
        self._file.write(payload)
        self._offset += RECORD.size + len(payload)

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
