"""Bytes of a stream with every length checked against the file's own before anything is allocated."""

from __future__ import annotations

import zlib
from io import SEEK_END
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from deepsphere_codec.bitstream.header import FORMAT_VERSION, Header, unpack_header
from deepsphere_codec.bitstream.layout import (
    CRC,
    END_MAGIC,
    FRAME_TYPES,
    INDEX_ENTRY,
    INDEX_TYPE,
    MAGIC,
    MAX_HEADER,
    PROLOGUE,
    RECORD,
    TRAILER,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.errors import DamagedStream, IncompatibleStream


class Entry(NamedTuple):
    """Where a frame lies."""

    frame_type: str
    offset: int


class Record(NamedTuple):
    kind: str
    payload: bytes
    end: int


class Source:
    """A file of known size, read at given places; its name and the place are in every message."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.size = file.seek(0, SEEK_END)
        self.header, self.first, self._crc = self._read_prologue()

    def damaged(self, what: str) -> DamagedStream:
        return DamagedStream(f"{self.name}: {what}")

    def index(self) -> list[Entry]:
        """The entries of the index at the end, which must account for every byte between the prologue and itself.

        Raises:
            DamagedStream: it is missing, altered, or something follows it.
        """
        start = self._index_offset()
        count, rest = divmod(self.size - TRAILER.size - RECORD.size - start, INDEX_ENTRY.size)
        record = self.record(count, start)
        if rest or record.kind != INDEX_TYPE or record.end + TRAILER.size != self.size:
            raise self.damaged(f"the index at byte {start} is altered: its length is wrong")
        entries = [Entry(chr(kind), offset) for kind, offset in INDEX_ENTRY.iter_unpack(record.payload)]
        starts = [*(entry.offset for entry in entries), start]
        apart = all(after - before >= RECORD.size for before, after in pairwise(starts))
        known = all(entry.frame_type in FRAME_TYPES for entry in entries)
        if starts[0] != self.first or not apart or not known:
            raise self.damaged(f"the index at byte {start} contradicts the file")
        return entries

    def scan(self, entries: list[Entry]) -> None:
        """Fill `entries` from the records themselves, front to back, and compare them with the index.

        Raises:
            DamagedStream: naming the first damage; `entries` holds what lies before it.
        """
        offset = self.first
        while (record := self.record(len(entries), offset)).kind != INDEX_TYPE:
            if record.kind not in FRAME_TYPES:
                raise self.damaged(f"frame {len(entries)} at byte {offset} is of the unknown type {record.kind!r}")
            entries.append(Entry(record.kind, offset))
            offset = record.end
        if self.index() != entries:
            raise self.damaged(f"the index at byte {offset} contradicts the records")

    def record(self, number: int, offset: int) -> Record:
        """The record that begins at `offset`, checked; the index is one, its number that of all frames.

        Raises:
            DamagedStream: it is cut short or altered.
        """
        front = self._read(offset, RECORD.size)
        if not front:
            raise self.damaged(f"it ends at byte {offset}, after {number} frames and before their index")
        place = f"the index at byte {offset}" if front[0] == ord(INDEX_TYPE) else f"frame {number} at byte {offset}"
        if len(front) < RECORD.size:
            raise self.damaged(f"{place} is cut short: the file ends at byte {self.size}")
        kind, length, crc = RECORD.unpack(front)
        start = offset + RECORD.size
        payload = self._read(start, min(length, self.size - start))
        if len(payload) < length:
            raise self.damaged(f"{place} is cut short or altered: {length} bytes due, {len(payload)} there")
        if record_crc(self._crc, number, kind, payload) != crc:
            raise self.damaged(f"{place} is altered: its checksum differs")
        return Record(chr(kind), payload, start + length)

    def _read_prologue(self) -> tuple[Header, int, int]:
        front = self._read(0, PROLOGUE.size)
        if not front:
            raise self.damaged("not a .dsc file: it is empty")
        if not front.startswith(MAGIC[: len(front)]):
            raise self.damaged(f"not a .dsc file: it begins with {front[:8].hex(' ')}, expected {MAGIC.hex(' ')}")
        if len(front) < PROLOGUE.size:
            raise self.damaged(f"the header is cut short: the file ends at byte {self.size}")
        _, version, length = PROLOGUE.unpack(front)
        end = PROLOGUE.size + length
        if length > MAX_HEADER or end + CRC.size > self.size:
            raise self.damaged(f"the header is cut short or altered: {length} bytes due at byte {PROLOGUE.size}")
        body = self._read(PROLOGUE.size, length)
        (crc,) = CRC.unpack(self._read(end, CRC.size))
        if zlib.crc32(front + body) != crc:
            raise self.damaged(f"the header (bytes 0 to {end}) is altered: its checksum differs")
        if version != FORMAT_VERSION:
            raise IncompatibleStream(
                f"{self.name}: version {version} of the format, this installation reads {FORMAT_VERSION}; "
                f"use a newer deepsphere-codec"
            )
        try:
            return unpack_header(version, body), end + CRC.size, crc
        except ValueError as error:
            raise self.damaged(f"the header is not one that was ever written: {error}") from error

    def _index_offset(self) -> int:
        start = self.size - TRAILER.size
        if start < self.first:
            raise self.damaged(f"the index is missing: the file ends at byte {self.size}")
        offset, crc, magic = TRAILER.unpack(self._read(start, TRAILER.size))
        if magic != END_MAGIC or crc != trailer_crc(self._crc, offset):
            raise self.damaged(f"the trailer at byte {start} is missing or altered")
        if not self.first <= offset <= start - RECORD.size:
            raise self.damaged(f"the trailer at byte {start} leads outside the file")
        return offset

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)
