"""A file taken apart and put together again, every checksum right for what it lies over, whatever that says."""

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
    """As it lies in a file, without its checksum.

    Attributes:
        length: As it is written; the body's unless given.
        shift: Of its place, which is right where this is 0.
    """

    kind: int
    body: bytes
    length: bytes | None = None
    shift: int = 0


@dataclass(frozen=True)
class Parts:
    """A file taken apart.

    Attributes:
        end: Body of the end record; one that fits unless given.
        trailer: Offset that it tells; the right one unless given. -1 leaves it out, -2 the end record as well.
    """

    version: int
    header: bytes
    records: tuple[Record, ...]
    end: bytes | None = None
    trailer: int | None = None
    tail: bytes = b""


def take_apart(data: bytes) -> Parts | None:
    """The parts of a file, as far as it can be told where they lie; None where not even the header can."""
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
    """The file, every checksum right for what it lies over."""
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
    """The body of a sound file's end record."""
    (offset, _, _) = TRAILER.unpack(data[-TRAILER.size :])
    cursor = Cursor(data[offset + 1 : -TRAILER.size])
    length = cursor.varint()
    cursor.take(CRC.size)
    return cursor.take(length)
