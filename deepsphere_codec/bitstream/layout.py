"""Numbers, lengths and checksums of a `.dsc` file; FORMAT.md says what lies where."""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\x89DSC\r\n\x1a\n"
END_MAGIC = b"CSD."

VERSION_OFFSET = len(MAGIC)
PROLOGUE = struct.Struct("<8sHI")  # magic, version, length of the header
CRC = struct.Struct("<I")
CHECK = struct.Struct("<H")  # of decoded latents
TRAILER = struct.Struct("<QI4s")  # offset of the end record, crc, end magic

KEYFRAME, PREDICTED, END = "I", "P", "E"
FRAME_TYPES = (KEYFRAME, PREDICTED)

MAX_HEADER = 1 << 16
MAX_BODY = 1 << 28
MAX_VARINT = 10  # bytes, for 64 bits

_SEED = struct.Struct("<IIBI")
_OFFSET = struct.Struct("<IQ")


def record_crc(prologue_crc: int, place: int, kind: int, body: bytes) -> int:
    """Checksum of a record.

    Args:
        prologue_crc: Of the file that it is in.
        place: Of a frame, counted from its GOP's I-frame; 0 for other records.
    """
    return zlib.crc32(body, zlib.crc32(_SEED.pack(prologue_crc, place, kind, len(body))))


def trailer_crc(prologue_crc: int, end_offset: int) -> int:
    return zlib.crc32(_OFFSET.pack(prologue_crc, end_offset))


def varint(value: int) -> bytes:
    """A whole number from 0 to 2^64 - 1: seven bits a byte, lowest first, the highest bit set in all but the last."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} is no whole number below 2^64")
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def record_size(body: bytes) -> int:
    """Bytes that a record takes, its kind, length and checksum included."""
    return 1 + len(varint(len(body))) + CRC.size + len(body)


class Cursor:
    """Takes one thing after the other out of bytes.

    Every method raises ValueError where they end too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def varint(self) -> int:
        """A number as `varint` writes it, and no other way."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte <= 0x7F:
                if byte == 0 and i or value >= 1 << 64:
                    break
                return value
        raise ValueError("a number is not written as it should be")

    def unpack(self, form: struct.Struct) -> tuple:
        return form.unpack(self.take(form.size))

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self._place:
            raise ValueError(f"{length} bytes due at byte {self._place} of {len(self._data)}")
        self._place += length
        return self._data[self._place - length : self._place]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._place)

    def end(self) -> None:
        """Raise ValueError unless everything was taken."""
        if self._place != len(self._data):
            raise ValueError(f"{len(self._data) - self._place} bytes more than its fields take")
