"""Splitting of a file into parts and assembly, with correct checksums for any contents."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from deepsphere_codec.bitstream.cursor import Cursor, varint
from deepsphere_codec.bitstream.layout import (
    CRC,
    END_MAGIC,
    MAGIC,
    PROLOGUE,
    TRAILER,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.bitstream.records import End, Gop, pack_end


@dataclass(frozen=True)
class Record:
    """Record of a file, without its checksum.

    Attributes:
        kind: Kind of the record.
        body: Contents.
        length: Length field; None for the body's length.
        shift: Error of its position field; 0 for the correct position.
    """

    kind: int
    body: bytes
    length: bytes | None = None
    shift: int = 0


@dataclass(frozen=True)
class Parts:
    """Parts of a file.

    Attributes:
        version: Version of the format.
        header: Body of the header.
        records: Records.
        end: Body of the end record; None for a correct one.
        trailer: Offset in the trailer; None for the correct one, -1 for no trailer, -2 for no end record either.
        tail: Bytes after the end.
    """

    version: int
    header: bytes
    records: tuple[Record, ...]
    end: bytes | None = None
    trailer: int | None = None
    tail: bytes = b""


def take_apart(data: bytes) -> Parts | None:
    """Split a file into its parts, as far as their positions are known; None if the header cannot be read."""
    if len(data) < PROLOGUE.size or not data.startswith(MAGIC):
        return None
    _, version, length = PROLOGUE.unpack_from(data)
    header = data[PROLOGUE.size : PROLOGUE.size + length]
    cursor = Cursor(data[PROLOGUE.size + length + CRC.size :])
    records: list[Record] = []
    try:
        while True:
            kind, size = cursor.take(1)[0], cursor.varint()
            cursor.take(CRC.size)
            body = cursor.take(size)
            if kind == ord("E"):
                return Parts(version, header, tuple(records))
            records.append(Record(kind, body))
    except ValueError:
        return Parts(version, header, tuple(records), trailer=-2)


def put_together(parts: Parts) -> bytes:
    """Assemble a file, with the correct checksum for each part."""
    front = PROLOGUE.pack(MAGIC, parts.version, len(parts.header)) + parts.header
    seed = zlib.crc32(front)
    pieces, offset = [front + CRC.pack(seed)], len(front) + CRC.size
    gops: list[Gop] = []
    number, place = 0, 0
    for record in parts.records:
        if record.kind == ord("I"):
            gops.append(Gop(number, offset))
            place = 0
        pieces.append(_sealed(record, seed, place if record.kind in b"PAB" else 0))
        if record.kind in b"IPAB":
            number, place = number + 1, place + 1
        offset += len(pieces[-1])
    if parts.trailer != -2:
        body = pack_end(End(number, gops)) if parts.end is None else parts.end
        pieces.append(_sealed(Record(ord("E"), body), seed, 0))
        if parts.trailer != -1:
            at = offset if parts.trailer is None else parts.trailer
            pieces.append(TRAILER.pack(at, trailer_crc(seed, at), END_MAGIC))
    return b"".join([*pieces, parts.tail])


def _sealed(record: Record, seed: int, place: int) -> bytes:
    length = varint(len(record.body)) if record.length is None else record.length
    crc = record_crc(seed, (place + record.shift) % (1 << 32), record.kind, record.body)
    return bytes([record.kind]) + length + CRC.pack(crc) + record.body


def take_end(data: bytes) -> bytes:
    """Return the body of an undamaged file's end record."""
    (offset, _, _) = TRAILER.unpack(data[-TRAILER.size :])
    cursor = Cursor(data[offset + 1 : -TRAILER.size])
    length = cursor.varint()
    cursor.take(CRC.size)
    return cursor.take(length)
