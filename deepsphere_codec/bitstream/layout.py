r"""What lies where in a `.dsc` file, version 1. All numbers are little-endian, all checksums CRC-32 (zlib's).

    file     prologue, records, index, trailer; nothing between them, nothing after
    prologue magic 89 44 53 43 0D 0A 1A 0A, version u16, length u32, header (`length` bytes; see `header.py`), crc u32
             crc covers all before it. This much is the same in every version, so that a newer one is told from damage.
    record   type u8 ("I" or "P"), length u32, crc u32, payload (`length` bytes)
             crc covers: the prologue's crc u32, the frame's number u32 (from 0), type, length, payload.
             A record in another place, or from another file, is thus noticed too.
    index    type u8 ("X"), length u32, crc u32, payload: for each frame its type u8 and its record's offset u64
             crc covers as a record's, the number being that of all frames.
    trailer  offset of the index u64, crc u32 (of the prologue's crc u32 and the offset), "CSD." (43 53 44 2E)

The index is for random access; a reader that starts at the front needs neither it nor the trailer.
The magic begins like PNG's, for its reasons: a byte above 7F and both line ends show a transfer as text.
"""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\x89DSC\r\n\x1a\n"
END_MAGIC = b"CSD."

VERSION_OFFSET = len(MAGIC)
PROLOGUE = struct.Struct("<8sHI")  # magic, version, length of the header
CRC = struct.Struct("<I")
RECORD = struct.Struct("<BII")  # type, length of the payload, crc
INDEX_ENTRY = struct.Struct("<BQ")  # type, offset of the record
TRAILER = struct.Struct("<QI4s")  # offset of the index, crc, end magic

INDEX_TYPE = "X"
FRAME_TYPES = ("I", "P")

MAX_HEADER = 1 << 16
MAX_PAYLOAD = (1 << 32) - 1

_SEED = struct.Struct("<II")
_TYPE_AND_LENGTH = struct.Struct("<BI")
_OFFSET = struct.Struct("<IQ")


def record_crc(prologue_crc: int, number: int, kind: int, payload: bytes) -> int:
    """Checksum of a record (or of the index, whose number is the count of frames)."""
    seed = zlib.crc32(_SEED.pack(prologue_crc, number))
    return zlib.crc32(payload, zlib.crc32(_TYPE_AND_LENGTH.pack(kind, len(payload)), seed))


def trailer_crc(prologue_crc: int, index_offset: int) -> int:
    return zlib.crc32(_OFFSET.pack(prologue_crc, index_offset))
