"""Bytes of a stream, from a file at any place or from a pipe in order; nothing is allocated on a mere length's word."""

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
    """A record whose checksum is right.

    Attributes:
        end: Offset of what follows it.
    """

    kind: str
    body: bytes
    offset: int
    end: int


class ByteSource:
    """A file or a pipe; its name and the place are in every message.

    Args:
        file: Open for reading in binary mode. Where it can seek, any place of it can be read.
        name: For messages.
    Attributes:
        size: Of the file, bytes; None of a pipe.
        first: Offset of the first record.
        bytes_read: So far.
    Raises:
        DamagedStream: it does not begin as a `.dsc` file does.
        IncompatibleStream: a newer version wrote it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.size = file.seek(0, SEEK_END) if file.seekable() else None
        self._place = 0  # of a pipe
        self.bytes_read = 0
        self.header, self.first, self._crc = self._read_prologue()

    def damaged(self, what: str) -> DamagedStream:
        return DamagedStream(f"{self.name}: {what}")

    def record(self, offset: int, number: int | None, place: int) -> RawRecord:
        """The record that begins at `offset`.

        Args:
            number: Of the frame that is expected there, for messages; None where it is not known.
            place: Of the frame in its GOP, should it be a P- or B-frame.
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
        """What the end record says, found through the trailer of a file.

        Raises:
            DamagedStream: either is missing or altered.
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
        """What this end record says.

        Raises:
            DamagedStream: it makes no sense.
        """
        try:
            end = unpack_end(record.body)
        except ValueError as error:
            raise self.damaged(f"the end record at byte {record.offset} is altered: {error}") from error
        gops = [Gop(0, self.first), *end.gops, Gop(end.frames, record.offset)]
        for before, after in zip(gops, gops[1:], strict=False):
            if after.offset - before.offset < MIN_FRAME * (after.number - before.number):
                raise self.damaged(f"the end record at byte {record.offset} contradicts the file")
        return end

    def check_trailer(self, end_record: RawRecord) -> None:
        """Raise DamagedStream unless the trailer follows the end record, and nothing follows it in a file."""
        if self._end_offset(self.read(end_record.end, TRAILER.size), end_record.end) != end_record.offset:
            raise self.damaged(f"the trailer at byte {end_record.end} leads elsewhere than to the end record")
        if self.size is not None and self.size > end_record.end + TRAILER.size:
            raise self.damaged(f"something follows the trailer at byte {end_record.end + TRAILER.size}")

    def read(self, offset: int, length: int) -> bytes:
        """As many bytes as there are, `length` at most; a pipe gives them in order only."""
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
        """Piece by piece: what a length promises may never come."""
        pieces, left = [], length
        while left and (piece := self._file.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _length(self, offset: int, what: str) -> tuple[int, int]:
        """A record's length, and how many bytes tell it."""
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
