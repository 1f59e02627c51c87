"""Changes of a file: of any bytes, or of its fields and payloads with correct checksums."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace

from deepsphere_codec.bitstream.cursor import MAX_VARINT, varint
from deepsphere_codec.bitstream.layout import END_MAGIC
from studies.fuzzing.parts import Parts, Record, put_together, take_apart, take_end

LONGEST = 1 << 14
_POWERS = tuple(1 << n for n in (2, 4, 6, 7, 8, 13, 14, 15, 16, 28, 31, 32, 40, 63))
_NUMBERS = (*range(4), *_POWERS, *(power - 1 for power in _POWERS), (1 << 64) - 1)
"""Limits of the fields' types, and of the readers' ranges."""
_DOUBLES = (0.0, -1.0, 1.0, 8.0, 1e-320, -1e308, 1e308, float("inf"), float("nan"))
_FIELDS = tuple(range(0, 24, 4)) + (32, 36)  # offsets of header fields of four bytes; the quality lies between them
_QUALITY, _SMALL = 24, range(40, 46)


def mutated(
    data: bytes, dice: random.Random, others: list[bytes], raw: Callable[[bytes], bytes] | None = None
) -> bytes:
    """Change a file in one to four places, at one of three levels.

    Args:
        data: File.
        dice: Source of random numbers.
        others: Files whose parts may be inserted.
        raw: Function that changes bytes regardless of their meaning; None for `scrambled`.
    Returns:
        Changed file.
    """
    change_bytes = raw or (lambda each: scrambled(each, dice))
    parts = take_apart(data)
    level = dice.random()
    if parts is None or level < 0.2:
        return change_bytes(data)[:LONGEST]
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        parts = (_payload if level < 0.6 else dice.choice(_STRUCTURE))(parts, dice, others)
    return put_together(parts)[:LONGEST]


def scrambled(data: bytes, dice: random.Random) -> bytes:
    """Change, remove, insert, repeat or cut off bytes at one to eight places.

    Args:
        data: File.
        dice: Source of random numbers.
    Returns:
        Changed file.
    """
    found = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at, n = dice.randrange(len(found) + 1), dice.choice((1, 1, 2, 4, 8, 16, 40))
        what = dice.randrange(8)
        if what == 0:
            found[at : at + n] = dice.randbytes(n)
        elif what == 1:
            del found[at : at + n]
        elif what == 2:
            found[at:at] = dice.randbytes(n)
        elif what == 3:
            found[at:at] = found[at : at + n]
        elif what == 4:
            found[at : at + n] = dice.choice((b"\0", b"\xff")) * n
        elif what == 5 and dice.random() < 0.3:
            del found[at:]
        elif what == 6:
            found[at : at + 4] = struct.pack("<I", dice.choice(_NUMBERS) % (1 << 32))
        elif at < len(found):
            found[at] ^= 1 << dice.randrange(8)
    return bytes(found)


def _with(parts: Parts, at: int, *records: Record) -> Parts:
    return replace(parts, records=(*parts.records[:at], *records, *parts.records[at + 1 :]))


def _pick(parts: Parts, dice: random.Random, kinds: bytes = bytes(range(256))) -> int | None:
    places = [i for i, record in enumerate(parts.records) if record.kind in kinds]
    return dice.choice(places) if places else None


def _field(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    """Change a number of the header to values at its limits and beyond."""
    header = bytearray(parts.header)
    what = dice.random()
    if what < 0.6:
        at = dice.choice(_FIELDS)
        near = int.from_bytes(header[at : at + 4], "little") + dice.choice((-4, -1, 1, 4))
        header[at : at + 4] = struct.pack("<I", dice.choice((near, *_NUMBERS)) % (1 << 32))
    elif what < 0.8:
        header[_QUALITY : _QUALITY + 8] = struct.pack("<d", dice.choice(_DOUBLES))
    else:
        at = dice.choice(_SMALL)
        header[at : at + 1] = bytes([dice.choice((0, 1, 2, 6, 8, 9, 10, 255))])
    return replace(parts, header=bytes(header))


def _header(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    return replace(parts, header=scrambled(parts.header, dice)[:70000])


def _version(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    return replace(parts, version=dice.choice((0x0001, 0x0100, 0x0101, 0x01FF, 0x0200, 0xFFFF)))


def _kind(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    if (at := _pick(parts, dice)) is None:
        return parts
    return _with(
        parts, at, replace(parts.records[at], kind=dice.choice((*b"IIPPABBEaztZ", 0, 0xE9, dice.randrange(256))))
    )


def _order(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    """Remove, repeat, exchange records, or insert them from another file."""
    if (at := _pick(parts, dice)) is None:
        return parts
    record, what = parts.records[at], dice.randrange(4)
    if what == 0:
        return _with(parts, at)
    if what == 1:
        return _with(parts, at, *[record] * dice.choice((2, 3, 8)))
    if what == 2:
        other = _pick(parts, dice) or 0
        return _with(_with(parts, at, parts.records[other]), other, record)
    there = take_apart(dice.choice(others)) if others else None
    return _with(parts, at, *((there.records or (record,)) if there else (record,)), record)


def _beside(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    at = dice.randrange(len(parts.records) + 1)
    new = Record(dice.choice(b"atzAZE"), dice.randbytes(dice.choice((0, 1, 5, 300))))
    return replace(parts, records=(*parts.records[:at], new, *parts.records[at:]))


def _body(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    if (at := _pick(parts, dice)) is None:
        return parts
    return _with(parts, at, replace(parts.records[at], body=scrambled(parts.records[at].body, dice)))


def _number(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    """Change the number of an I-frame, or the span of a group."""
    if (at := _pick(parts, dice, b"IA")) is None:
        return parts
    body = parts.records[at].body
    behind = next((i + 1 for i, byte in enumerate(body[:MAX_VARINT]) if byte < 0x80), 0)
    return _with(parts, at, replace(parts.records[at], body=varint(dice.choice(_NUMBERS)) + body[behind:]))


def _length(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    if (at := _pick(parts, dice)) is None:
        return parts
    size = len(parts.records[at].body)
    lengths = [
        varint(dice.choice((size + 1, max(0, size - 1), *_NUMBERS))),
        b"\xff" * 10,
        b"\x80\x00",
        b"\xff" * 9 + b"\x7f",
    ]
    return _with(parts, at, replace(parts.records[at], length=dice.choice(lengths)))


def _place(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    if (at := _pick(parts, dice)) is None:
        return parts
    return _with(parts, at, replace(parts.records[at], shift=dice.choice((-1, 1, 1 << 16))))


def _end(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    """Change the end record: its numbers, its bytes, or remove it."""
    what = dice.randrange(5)
    if what == 0:
        return replace(parts, trailer=dice.choice((-1, -2)))
    if what == 1:
        return replace(parts, trailer=dice.choice(_NUMBERS))
    if what == 2:
        return replace(parts, tail=dice.choice((b"\0", b"E", END_MAGIC, dice.randbytes(30))))
    if what == 3:
        count = dice.choice((0, 1, 2, 3, 400))
        numbers = [dice.choice((0, 1, 1, 3, 30, *_NUMBERS)) for _ in range(2 * count)]
        frames, told = dice.choice((1, 7, *_NUMBERS)), dice.choice((count, count, count, *_NUMBERS))
        return replace(parts, end=b"".join(map(varint, (frames, told, *numbers))))
    body = take_end(put_together(replace(parts, end=None, trailer=None, tail=b"")))
    return replace(parts, end=scrambled(body, dice))


def _payload(parts: Parts, dice: random.Random, others: list[bytes]) -> Parts:
    """Change bytes of a frame after its number and check, which the entropy coder reads."""
    if (at := _pick(parts, dice, b"IPAB")) is None:
        return parts
    record = parts.records[at]
    front = 2 + (record.kind in b"IA")
    head, payload = record.body[:front], record.body[front:]
    what = dice.randrange(7)
    if what == 0:
        payload = payload[: dice.randrange(len(payload) + 1)]
    elif what == 1:
        payload += dice.choice((b"\0", b"\xff", dice.randbytes(1))) * dice.choice((1, 8, 100, 5000))
    elif what == 2:
        start = dice.randrange(len(payload) + 1)
        payload = payload[:start] + dice.choice((b"\0", b"\xff")) * dice.choice((4, 8, 11, 12, 400))
    elif what == 3:
        payload = bytes([dice.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 255))]) + payload[1:]
    elif what == 4:
        start = dice.choice((0, 1, 7, dice.randrange(len(payload) + 1)))
        payload = payload[:start] + varint(dice.choice(_NUMBERS)) + payload[start + 1 :]
    elif what == 5:
        payload = payload[:12] + dice.randbytes(dice.choice((0, 8, 200, 3000)))
    else:
        payload = scrambled(payload, dice)
    return _with(parts, at, replace(record, body=head + payload))


_STRUCTURE = (_field, _field, _header, _version, _kind, _order, _beside, _body, _number, _length, _place, _end, _end)
