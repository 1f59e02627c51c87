"""The boxes that an .mp4 is made of. Source: ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

HEADER = 8
"""Bytes in front of a box's body: its size, these included, and its kind."""


class Box(NamedTuple):
    kind: bytes
    offset: int
    size: int
    """Bytes, header included."""


def top_level(file: BinaryIO) -> Iterator[Box]:
    """The boxes of a file.

    Raises:
        ValueError: a box is shorter than its header, or broken off within it.
    """
    end = file.seek(0, 2)
    offset = 0
    while offset < end:
        file.seek(offset)
        size, kind = _header(file.read(HEADER))
        if size == 1:  # a large box (`mdat` beyond 4 GiB) has its size in 64 bits behind its name
            size = int.from_bytes(file.read(8), "big")
        elif size == 0:  # up to the end of the file
            size = end - offset
        if size < HEADER:
            raise ValueError(f"the box {kind!r} at {offset} takes {size} bytes")
        yield Box(kind, offset, size)
        offset += size


def inside(body: bytes) -> Iterator[tuple[Box, bytes]]:
    """The boxes that a box holds, with their bodies.

    Raises:
        ValueError: sizes do not add up.
    """
    offset = 0
    while offset < len(body):
        size, kind = _header(body[offset : offset + HEADER])
        if not HEADER <= size <= len(body) - offset:
            raise ValueError(f"the box {kind!r} takes {size} bytes of {len(body) - offset}")
        yield Box(kind, offset, size), body[offset + HEADER : offset + size]
        offset += size


def find(body: bytes, *path: bytes) -> bytes | None:
    """The body of the first box that a path of kinds leads to; None where there is none."""
    for box, found in inside(body):
        if box.kind == path[0]:
            return find(found, *path[1:]) if path[1:] else found
    return None


def make_box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", HEADER + len(body), kind) + body


def make_full_box(kind: bytes, body: bytes) -> bytes:
    """Version 0, no flags."""
    return make_box(kind, bytes(4) + body)


def _header(data: bytes) -> tuple[int, bytes]:
    if len(data) < HEADER:
        raise ValueError("a box is broken off in its header")
    size, kind = struct.unpack(">I4s", data)
    return size, kind
