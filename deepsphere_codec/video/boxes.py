"""Reading and writing of an .mp4's boxes. Source: ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

HEADER = 8
"""Size of a box's header in bytes: the size of the box, header included, and its kind."""


class Box(NamedTuple):
    """Position of a box.

    Attributes:
        kind: Four letters.
        offset: Offset of the header, bytes.
        size: Size in bytes, header included.
    """

    kind: bytes
    offset: int
    size: int


def top_level(file: BinaryIO) -> Iterator[Box]:
    """Iterate over the top-level boxes of a file.

    Raises:
        ValueError: a box is shorter than its header, or truncated within it.
    """
    end = file.seek(0, 2)
    offset = 0
    while offset < end:
        file.seek(offset)
        size, kind = _header(file.read(HEADER))
        if size == 1:  # a large box (`mdat` beyond 4 GiB) has a 64-bit size after its kind
            size = int.from_bytes(file.read(8), "big")
        elif size == 0:  # up to the end of the file
            size = end - offset
        if size < HEADER:
            raise ValueError(f"the box {kind!r} at {offset} takes {size} bytes")
        yield Box(kind, offset, size)
        offset += size


def inside(body: bytes) -> Iterator[tuple[Box, bytes]]:
    """Iterate over the boxes inside a box, with their bodies.

    Raises:
        ValueError: a size does not fit the body.
    """
    offset = 0
    while offset < len(body):
        size, kind = _header(body[offset : offset + HEADER])
        if not HEADER <= size <= len(body) - offset:
            raise ValueError(f"the box {kind!r} takes {size} bytes of {len(body) - offset}")
        yield Box(kind, offset, size), body[offset + HEADER : offset + size]
        offset += size


def find(body: bytes, *path: bytes) -> bytes | None:
    """Find the first box on a path of kinds.

    Args:
        body: Body of the outer box.
        path: Kinds of the nested boxes, outermost first.
    Returns:
        Body of the innermost box, or None if there is none.
    """
    for box, box_body in inside(body):
        if box.kind == path[0]:
            return find(box_body, *path[1:]) if path[1:] else box_body
    return None


def make_box(kind: bytes, body: bytes) -> bytes:
    """Create a box.

    Args:
        kind: Four letters.
        body: Body of the box.
    Returns:
        Bytes of the box, header included.
    """
    return struct.pack(">I4s", HEADER + len(body), kind) + body


def make_full_box(kind: bytes, body: bytes) -> bytes:
    """Create a full box of version 0 without flags.

    Args:
        kind: Four letters.
        body: Body of the box, after version and flags.
    Returns:
        Bytes of the box, header included.
    """
    return make_box(kind, bytes(4) + body)


def _header(data: bytes) -> tuple[int, bytes]:
    if len(data) < HEADER:
        raise ValueError("a box is truncated in its header")
    size, kind = struct.unpack(">I4s", data)
    return size, kind
