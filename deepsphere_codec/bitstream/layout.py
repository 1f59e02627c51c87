"""Constants, lengths and checksums of a `.dsc` file; its layout is specified in FORMAT.md."""

from __future__ import annotations

import struct
import zlib

from deepsphere_codec.bitstream.cursor import varint

MAGIC = b"\x89DSC\r\n\x1a\n"
END_MAGIC = b"CSD."

VERSION_OFFSET = len(MAGIC)
PROLOGUE = struct.Struct("<8sHI")  # magic, version, length of the header
CRC = struct.Struct("<I")
CHECK = struct.Struct("<H")  # of decoded latents
TRAILER = struct.Struct("<QI4s")  # offset of the end record, crc, end magic

KEYFRAME, PREDICTED, BETWEEN = "I", "P", "B"
FRAME_TYPES = (KEYFRAME, PREDICTED, BETWEEN)
ANCHOR, END = "A", "E"
FRAME_RECORDS = (*FRAME_TYPES, ANCHOR)  # a P-frame before B-frames has a kind of its own

MAX_HEADER = 1 << 16
MAX_BODY = 1 << 28
MIN_FRAME = 8  # bytes of a record without a payload: kind, length, crc, check

_SEED = struct.Struct("<IIBI")
_OFFSET = struct.Struct("<IQ")


def record_crc(prologue_crc: int, place: int, kind: int, body: bytes) -> int:
    """Compute the checksum of a record.

    Args:
        prologue_crc: Checksum of the file's prologue.
        place: For a P- or B-frame, number of frames coded since its GOP's I-frame, that one included; else 0.
        kind: Letter of the record, as a byte.
        body: Bytes of the record.
    Returns:
        CRC-32.
    """
    return zlib.crc32(body, zlib.crc32(_SEED.pack(prologue_crc, place, kind, len(body))))


def trailer_crc(prologue_crc: int, end_offset: int) -> int:
    """Compute the checksum of the trailer.

    Args:
        prologue_crc: Checksum of the file's prologue.
        end_offset: Offset of the end record in the file.
    Returns:
        CRC-32.
    """
    return zlib.crc32(_OFFSET.pack(prologue_crc, end_offset))


def record_size(body: bytes) -> int:
    """Size of a record in bytes, including its kind, length and checksum."""
    return 1 + len(varint(len(body))) + CRC.size + len(body)
