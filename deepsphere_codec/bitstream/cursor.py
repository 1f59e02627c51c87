"""Sequential, bounds-checked reading of bytes; and integers of variable length (varints).

A varint is an integer from 0 to 2^64 - 1: seven bits per byte, lowest first, the highest bit set in all bytes but the
last, and the last byte not zero unless it is the only one. Signed integers are mapped first (zigzag): 0, -1, 1, -2 …
become 0, 1, 2, 3 …
"""

from __future__ import annotations

import struct
from typing import Any

MAX_VARINT = 10  # bytes, for 64 bits


def varint(value: int) -> bytes:
    """Encode an integer as a varint.

    Raises:
        ValueError: it is negative, or not below 2^64.
    """
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} is no whole number below 2^64")
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def zigzag(number: int) -> int:
    """Map a signed integer to a non-negative one: 0, -1, 1, -2 … become 0, 1, 2, 3, and so on."""
    return 2 * number if number >= 0 else -2 * number - 1


class Cursor:
    """Sequential reader of fields in bytes.

    Every method raises ValueError if fewer bytes are left than it needs, or if they are malformed.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Number of bytes not yet read."""
        return len(self._data) - self._place

    def take(self, length: int) -> bytes:
        """Read `length` bytes."""
        if not 0 <= length <= self.left:
            raise ValueError(f"{length} bytes due at byte {self._place} of {len(self._data)}")
        self._place += length
        return self._data[self._place - length : self._place]

    def rest(self) -> bytes:
        """Read all remaining bytes."""
        return self.take(self.left)

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Read the fields of a struct."""
        return form.unpack(self.take(form.size))

    def sized(self, form: str) -> bytes:
        """Read a length in the given struct format, and as many bytes."""
        return self.take(self.unpack(struct.Struct(form))[0])

    def text(self, form: str) -> str:
        """Read a length in the given struct format, and UTF-8 text of as many bytes."""
        return self.sized(form).decode()

    def varint(self) -> int:
        """Read a varint; encodings that `varint` does not produce are refused."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte <= 0x7F:
                if byte == 0 and i or value >= 1 << 64:
                    break
                return value
        raise ValueError("a number is not written as it should be")

    def signed_varint(self) -> int:
        """Read a varint that holds a zigzag-mapped signed integer."""
        folded = self.varint()
        return folded >> 1 ^ -(folded & 1)

    def end(self) -> None:
        """Raise ValueError unless all bytes were read."""
        if self.left:
            raise ValueError(f"{self.left} bytes more than its fields take")
