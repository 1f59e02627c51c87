"""Bytes of a stream, from a seekable file or a pipe; no memory is allocated before its length has been checked."""

from __future__ import annotations

import zlib
from io import SEEK_END
from typing import BinaryIO, NamedTuple

from deepsphere_codec.bitstream.cursor import MAX_VARINT, Cursor
from deepsphere_codec.bitstream.header import FORMAT_VERSION, Header, NotHere, unpack_header, version_text
from deepsphere_codec.bitstream.layout import (
    CRC,
    END,
    END_MAGIC,
    FRAME_RECORDS,
    KEYFRAME,
    MAGIC,
    MAX_BODY,
    MAX_HEADER,
    MIN_FRAME,
    PROLOGUE,
    TRAILER,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.bitstream.records import End, Gop, unpack_end
from deepsphere_codec.errors import DamagedStream, IncompatibleStream

_PIECE = 1 << 20  # bytes that are read at once


class RawRecord(NamedTuple):
    """A record with a valid checksum.

    Attributes:
        kind: Letter of the record.
        body: Bytes of the record.
        offset: Offset of the record, bytes.
        end: Offset of the byte after it.
    """

    kind: str
    body: bytes
    offset: int
    end: int


class ByteSource:
    """ByteSource of a stream's bytes, a file or a pipe; its error messages name the file and the offset.

    Args:
        file: File open for reading in binary mode; if it is seekable, any part of it can be read.
        name: Name of the file, for messages.

    Attributes:
        size: Size of the file in bytes; None for a pipe.
        first: Offset of the first record.
        bytes_read: Number of bytes read so far.
    Raises:
        DamagedStream: it does not begin as a `.dsc` file does.
        IncompatibleStream: a newer version wrote it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.size = file.seek(0, SEEK_END) if file.seekable() else None
        self._place = 0  # position in a pipe
        self.bytes_read = 0
        self.header, self.first, self._crc = self._read_prologue()

    def damaged(self, problem: str) -> DamagedStream:
        """Create a DamagedStream error that names the file."""
        return DamagedStream(f"{self.name}: {problem}")

    def record(self, offset: int, number: int | None, place: int) -> RawRecord:
        """Read the record at an offset and check its checksum.

        Args:
            offset: Offset of the record, bytes.
            number: Number of the frame that is expected there, for messages; None if it is not known.
            place: Number of frames coded since the GOP's I-frame, should it be a P- or B-frame.
        Returns:
            The record.
        Raises:
            DamagedStream: it is cut short or altered.
        """
        front = self.read(offset, 1)
        if not front:
            raise self.damaged(f"it ends at byte {offset}, {_after(number)} and before its end record")
        what = _what(chr(front[0]), number, offset)
        length, size = self._length(offset + 1, what)
        (crc,) = CRC.unpack(self._exactly(offset + 1 + size, CRC.size, what))
        start = offset + 1 + size + CRC.size
        body = self._exactly(start, length, what)
        kind = chr(front[0])
        in_gop = kind in FRAME_RECORDS and kind != KEYFRAME
        if record_crc(self._crc, place if in_gop else 0, front[0], body) != crc:
            raise self.damaged(f"{what} is altered: its checksum differs")
        return RawRecord(kind, body, offset, start + length)

    def end(self) -> End:
        """Read the end record of a file through its trailer.

        Raises:
            DamagedStream: the end record or the trailer is missing or altered.
        """
        assert self.size is not None
        start = self.size - TRAILER.size
        if start < self.first:
            raise self.damaged(f"the end is missing: the file ends at byte {self.size}")
        offset = self._end_offset(self.read(start, TRAILER.size), start)
        record = self.record(offset, None, 0)
        if record.kind != END or record.end != start:
            raise self.damaged(f"the trailer at byte {start} leads elsewhere than to the end record")
        return self.end_of(record)

    def end_of(self, record: RawRecord) -> End:
        """Decode an end record and check it against the file.

        Raises:
            DamagedStream: it is altered or contradicts the file.
        """
        try:
            end = unpack_end(record.body)
        except ValueError as error:
            raise self.damaged(f"the end record at byte {record.offset} is altered: {error}") from error
        gops = [Gop(0, self.first), *end.gops, Gop(end.frames, record.offset)]
        for gop, next_gop in zip(gops, gops[1:], strict=False):
            if next_gop.offset - gop.offset < MIN_FRAME * (next_gop.number - gop.number):
                raise self.damaged(f"the end record at byte {record.offset} contradicts the file")
        return end

    def check_trailer(self, end_record: RawRecord) -> None:
        """Check that the trailer follows the end record, and that nothing follows the trailer in a file.

        Raises:
            DamagedStream: it does not, or something follows.
        """
        if self._end_offset(self.read(end_record.end, TRAILER.size), end_record.end) != end_record.offset:
            raise self.damaged(f"the trailer at byte {end_record.end} leads elsewhere than to the end record")
        if self.size is not None and self.size > end_record.end + TRAILER.size:
            raise self.damaged(f"something follows the trailer at byte {end_record.end + TRAILER.size}")

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes.

        Args:
            offset: Offset of the first byte; for a pipe it must be the current position.
            length: Largest number of bytes.
        Returns:
            The bytes, fewer at the end of the file.
        """
        if self.size is not None:
            self._file.seek(offset)
            data = self._file.read(max(0, min(length, self.size - offset)))
        else:
            assert offset == self._place, "a pipe cannot go back"
            data = self._from_pipe(length)
            self._place += len(data)
        self.bytes_read += len(data)
        return data

    def _from_pipe(self, length: int) -> bytes:
        """Read piece by piece, so that a forged length does not allocate memory for bytes that never come."""
        pieces, remaining = [], length
        while remaining and (piece := self._file.read(min(remaining, _PIECE))):
            pieces.append(piece)
            remaining -= len(piece)
        return b"".join(pieces)

    def _length(self, offset: int, what: str) -> tuple[int, int]:
        """Read a record's length; returns it and the number of bytes that encode it."""
        digits = b""
        while len(digits) < MAX_VARINT and (not digits or digits[-1] & 0x80):
            digits += self._exactly(offset + len(digits), 1, what)
        try:
            length = Cursor(digits).varint()
        except ValueError:
            raise self.damaged(f"{what} is altered: its length is none") from None
        if length > MAX_BODY:
            raise self.damaged(f"{what} is altered: a length of {length} bytes, {MAX_BODY} at most")
        return length, len(digits)

    def _exactly(self, offset: int, length: int, what: str) -> bytes:
        if self.size is not None and length > self.size - offset:
            raise self.damaged(f"{what} is cut short or altered: {length} bytes due, {self.size - offset} there")
        data = self.read(offset, length)
        if len(data) < length:
            raise self.damaged(f"{what} is cut short or altered: {length} bytes due, {len(data)} there")
        return data

    def _end_offset(self, trailer: bytes, start: int) -> int:
        if len(trailer) < TRAILER.size:
            raise self.damaged(f"the trailer at byte {start} is cut short")
        offset, crc, magic = TRAILER.unpack(trailer)
        if magic != END_MAGIC or crc != trailer_crc(self._crc, offset):
            raise self.damaged(f"the trailer at byte {start} is missing or altered")
        if not self.first <= offset < start:
            raise self.damaged(f"the trailer at byte {start} leads outside the file")
        return offset

    def _read_prologue(self) -> tuple[Header, int, int]:
        front = self.read(0, PROLOGUE.size)
        if not front:
            raise self.damaged("not a .dsc file: it is empty")
        if not front.startswith(MAGIC[: len(front)]):
            raise self.damaged(f"not a .dsc file: it begins with {front[:8].hex(' ')}, expected {MAGIC.hex(' ')}")
        if len(front) < PROLOGUE.size:
            raise self.damaged(f"the header is cut short: the file ends at byte {len(front)}")
        _, version, length = PROLOGUE.unpack(front)
        end = PROLOGUE.size + length
        rest = self.read(PROLOGUE.size, length + CRC.size) if length <= MAX_HEADER else b""
        if len(rest) < length + CRC.size:
            raise self.damaged(f"the header is cut short or altered: {length} bytes due at byte {PROLOGUE.size}")
        body, (crc,) = rest[:length], CRC.unpack(rest[length:])
        if zlib.crc32(front + body) != crc:
            raise self.damaged(f"the header (bytes 0 to {end}) is altered: its checksum differs")
        return self._unpacked(version, body), end + CRC.size, crc

    def _unpacked(self, version: int, body: bytes) -> Header:
        if version >> 8 != FORMAT_VERSION >> 8:
            raise IncompatibleStream(
                f"{self.name}: version {version_text(version)} of the format, this installation reads "
                f"{FORMAT_VERSION >> 8}; use {_other_package(version)}"
            )
        try:
            return unpack_header(version, body)
        except NotHere as error:
            raise IncompatibleStream(f"{self.name}: {error}; use a newer deepsphere-codec") from error
        except ValueError as error:
            raise self.damaged(f"the header is not one that was ever written: {error}") from error


def _what(kind: str, number: int | None, offset: int) -> str:
    if kind == END:
        return f"the end record at byte {offset}"
    if kind.isascii() and kind.islower():
        return f"the record {kind!r} at byte {offset}"
    return f"{'a frame' if number is None else f'frame {number}'} at byte {offset}"


def _after(number: int | None) -> str:
    return "between two records" if number is None else f"after {number} frames"


def _other_package(version: int) -> str:
    return "a newer deepsphere-codec" if version > FORMAT_VERSION else "the draft of deepsphere-codec that wrote it"
