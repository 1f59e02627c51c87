"""Bytes read from front to back, each length checked against what is left; and numbers of any length."""

from __future__ import annotations

import struct
from typing import Any

MAX_VARINT = 10
"""Bytes; 64 bits in groups of 7."""


class Cursor:
    """Reads bytes; every method raises ValueError where less is left than it needs, or what is there is malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise ValueError(f"{count} bytes are due, {self.left} are left")
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def sized(self, form: str) -> bytes:
        """Bytes behind their length."""
        return self.take(self.unpack(struct.Struct(form))[0])

    def text(self, form: str) -> str:
        """UTF-8 behind its length."""
        return self.sized(form).decode()

    def varint(self) -> int:
        number = 0
        for place in range(MAX_VARINT):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number
        raise ValueError(f"a number takes more than {MAX_VARINT} bytes")

    def signed_varint(self) -> int:
        folded = self.varint()
        return folded >> 1 ^ -(folded & 1)

    def finish(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise ValueError(f"{self.left} bytes are left over")


def varint(number: int) -> bytes:
    """A number from 0 as 7 bits a byte, the lowest first, the top bit set in all but the last."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> int:
    """0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    return 2 * number if number >= 0 else -2 * number - 1
