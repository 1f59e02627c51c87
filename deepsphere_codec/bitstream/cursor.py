"""Bytes read from front to back, each length checked against what is left; and whole numbers of any length.

A varint is a whole number below 2^64: seven bits a byte, lowest first, the highest bit set in all bytes but the last,
and the last not zero unless it is the only one. A signed one is folded first: 0, -1, 1, -2 … become 0, 1, 2, 3 …
"""

from __future__ import annotations

import struct
from typing import Any

MAX_VARINT = 10  # bytes, for 64 bits


def varint(value: int) -> bytes:
    """The bytes of a whole number.

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
    """The whole number that a signed one is folded to."""
    return 2 * number if number >= 0 else -2 * number - 1


class Cursor:
    """Takes one thing after the other out of bytes.

    Every method raises ValueError where less is left than it needs, or what is there is malformed.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._place

    def take(self, length: int) -> bytes:
        if not 0 <= length <= self.left:
            raise ValueError(f"{length} bytes due at byte {self._place} of {len(self._data)}")
        self._place += length
        return self._data[self._place - length : self._place]

    def rest(self) -> bytes:
        return self.take(self.left)

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def sized(self, form: str) -> bytes:
        """Bytes behind their length."""
        return self.take(self.unpack(struct.Struct(form))[0])

    def text(self, form: str) -> str:
        """UTF-8 behind its length."""
        return self.sized(form).decode()

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

    def signed_varint(self) -> int:
        folded = self.varint()
        return folded >> 1 ^ -(folded & 1)

    def end(self) -> None:
        """Raise ValueError unless everything was taken."""
        if self.left:
            raise ValueError(f"{self.left} bytes more than its fields take")
