"""The header of a `.dsc` file: everything a decoder must know before the first frame."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import asdict, dataclass

from deepsphere_codec.bitstream.layout import CRC, MAGIC, MAX_HEADER, PROLOGUE

FORMAT_VERSION = 1

_SIZES = struct.Struct("<IIIIBIId")  # width, height, fps_num, fps_den, full_range, nside, gop_size, quality
_POSITIVE = ("width", "height", "fps_num", "fps_den", "nside", "gop_size")
_TEXTS = ("matrix", "pixel_order", "model")
_HASHES = ("weights_hash", "tables_hash", "graph_hash")
_HASH_BYTES = 32
_UINT32 = 1 << 32


@dataclass(frozen=True)
class Header:
    """What a stream says of itself.

    In the file, version 1: width, height, fps_num, fps_den u32, full_range u8, nside, gop_size u32, quality f64;
    matrix, pixel_order, model as length u16 and UTF-8; weights_hash, tables_hash, graph_hash as the 32 bytes of a
    SHA-256.

    Raises:
        ValueError: a value that the file cannot hold.
    """

    version: int
    width: int
    height: int
    fps_num: int
    fps_den: int
    full_range: bool
    matrix: str
    nside: int
    pixel_order: str
    model: str
    weights_hash: str
    tables_hash: str
    graph_hash: str
    quality: float
    gop_size: int

    def __post_init__(self) -> None:
        if self.version != FORMAT_VERSION:
            raise ValueError(f"version is {self.version}, expected {FORMAT_VERSION}")
        values = asdict(self)
        for name in _POSITIVE:
            if not 0 < values[name] < _UINT32:
                raise ValueError(f"{name} is {values[name]}, expected 1 ... 2^32 - 1")
        if not math.isfinite(self.quality):
            raise ValueError(f"quality is {self.quality}, expected a finite number")
        for name in _HASHES:
            if not _is_sha256(values[name]):
                raise ValueError(f"{name} is {values[name]!r}, expected 64 lower-case hexadecimal digits")
        if len(_pack(self)) > MAX_HEADER:
            raise ValueError(f"the header takes {len(_pack(self))} bytes, expected at most {MAX_HEADER}")


def prologue(header: Header) -> bytes:
    """All bytes of a stream before its first record."""
    body = _pack(header)
    front = PROLOGUE.pack(MAGIC, header.version, len(body)) + body
    return front + CRC.pack(zlib.crc32(front))


def unpack_header(version: int, body: bytes) -> Header:
    """The header in `body`.

    Raises:
        ValueError: the bytes are none that `prologue` writes.
    """
    try:
        width, height, fps_num, fps_den, full_range, nside, gop_size, quality = _SIZES.unpack_from(body)
        offset = _SIZES.size
        texts = []
        for _ in _TEXTS:
            (length,) = struct.unpack_from("<H", body, offset)
            texts.append(struct.unpack_from(f"{length}s", body, offset + 2)[0].decode())
            offset += 2 + length
        hashes = [digest.hex() for digest in struct.unpack(f"{_HASH_BYTES}s" * len(_HASHES), body[offset:])]
    except struct.error as error:
        raise ValueError("the header's length is not that of its fields") from error
    matrix, pixel_order, model = texts
    return Header(
        version=version,
        width=width,
        height=height,
        fps_num=fps_num,
        fps_den=fps_den,
        full_range=bool(full_range),
        matrix=matrix,
        nside=nside,
        pixel_order=pixel_order,
        model=model,
        weights_hash=hashes[0],
        tables_hash=hashes[1],
        graph_hash=hashes[2],
        quality=quality,
        gop_size=gop_size,
    )


def _pack(header: Header) -> bytes:
    values = asdict(header)
    sizes = _SIZES.pack(
        header.width,
        header.height,
        header.fps_num,
        header.fps_den,
        header.full_range,
        header.nside,
        header.gop_size,
        header.quality,
    )
    texts = b"".join(_text(values[name]) for name in _TEXTS)
    return sizes + texts + b"".join(bytes.fromhex(values[name]) for name in _HASHES)


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) >= 1 << 16:
        raise ValueError(f"a text of {len(data)} bytes, expected fewer than {1 << 16}")
    return struct.pack("<H", len(data)) + data


def _is_sha256(digest: str) -> bool:
    return len(digest) == 2 * _HASH_BYTES and set(digest) <= set("0123456789abcdef")
