"""The header of a `.dsc` file, which holds everything that a decoder must know before the first frame."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import asdict, dataclass

from deepsphere_codec.bitstream.cursor import Cursor
from deepsphere_codec.bitstream.layout import CRC, MAGIC, MAX_HEADER, PROLOGUE

FORMAT_VERSION = 0x0101
"""Version 1.1: the major version in the high byte, the minor in the low one.

A reader accepts all minor versions of its major version.
"""

LIMITS = {
    "width": 1 << 15,
    "height": 1 << 14,
    "nside": 1 << 13,
    "gop_size": 1 << 16,
    "fps_num": (1 << 31) - 1,  # as FFmpeg's fractions
    "fps_den": (1 << 31) - 1,
}
"""Largest allowed values (the smallest is 1), which bound the memory that a decoder allocates for any file."""

MATRICES = {"bt709": 1, "bt601": 6, "bt2020": 9}
"""Numbers of the colour matrices in ITU-T H.273."""

_SIZES = struct.Struct("<IIIIIIdIIBBBBBB")
_TEXTS = ("pixel_order", "model")
_HASHES = ("weights_hash", "tables_hash", "graph_hash")
_HASH_BYTES = 32
_LENGTH = struct.Struct("<H")
_BITS, _MONO = 8, 0
_SMALL_NSIDE = 64  # allowed for any picture size
_INT32 = 1 << 31


@dataclass(frozen=True)
class Header:
    """Parameters of a stream.

    Attributes:
        version: Version of the format, see `FORMAT_VERSION`.
        width: Columns of the ERP source.
        height: Rows of the ERP source.
        fps_num: Numerator of the frames per second.
        fps_den: Denominator of the frames per second.
        full_range: Whether luma spans 0 … 255 instead of 16 … 235.
        matrix: Colour matrix, a key of `MATRICES`.
        nside: Resolution of the signal's grid.
        pixel_order: Order of the signal's nodes.
        model: Name of the model.
        weights_hash: SHA-256 of the model's weights, hex.
        tables_hash: SHA-256 of its entropy tables, hex.
        graph_hash: SHA-256 of its graphs, hex.
        model_quality: Quality that the networks work at; a lower one was requested where nside is reduced.
        gop_size: Largest number of frames from I-frame to I-frame.
        primaries: Colour primaries, number of ITU-T H.273.
        transfer: Transfer characteristics, number of ITU-T H.273.
        tick_num: Numerator of a tick in seconds; 0 if frames are evenly spaced and carry no times.
        tick_den: Denominator of a tick; 0 if frames are evenly spaced.
    Raises:
        ValueError: a value cannot be stored in the file.
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
    model_quality: float
    gop_size: int
    primaries: int = 1
    transfer: int = 1
    tick_num: int = 0
    tick_den: int = 0

    @property
    def timed(self) -> bool:
        """Whether each frame says when it is shown."""
        return self.tick_num > 0

    def __post_init__(self) -> None:
        if self.version >> 8 != FORMAT_VERSION >> 8:
            raise ValueError(f"version is {self.version:#06x}, expected {FORMAT_VERSION:#06x}")
        values = asdict(self)
        for name, limit in LIMITS.items():
            if not 0 < values[name] <= limit:
                raise ValueError(f"{name} is {values[name]}, expected 1 ... {limit}")
        if self.nside > most_nside(self.width):
            raise ValueError(f"nside is {self.nside}, expected {most_nside(self.width)} at most for this width")
        if self.width % 4 or self.height % 2 or self.height < 4:
            size = f"{self.width}x{self.height}"
            raise ValueError(f"the size is {size}, expected a width of fours and an even height of 4 or more")
        if self.matrix not in MATRICES:
            raise ValueError(f"matrix is {self.matrix!r}, expected one of {', '.join(MATRICES)}")
        for name in ("primaries", "transfer"):
            if not 0 <= values[name] < 256:
                raise ValueError(f"{name} is {values[name]}, expected 0 ... 255")
        if (self.tick_num > 0) != (self.tick_den > 0) or not 0 <= max(self.tick_num, self.tick_den) < _INT32:
            raise ValueError(f"a tick is {self.tick_num}/{self.tick_den} s, expected two numbers from 1 on, or 0/0")
        if not math.isfinite(self.model_quality):
            raise ValueError(f"model_quality is {self.model_quality}, expected a finite number")
        for name in _HASHES:
            if not _is_sha256(values[name]):
                raise ValueError(f"{name} is {values[name]!r}, expected 64 lower-case hexadecimal digits")
        if len(_pack(self)) > MAX_HEADER:
            raise ValueError(f"the header takes {len(_pack(self))} bytes, expected at most {MAX_HEADER}")


def most_nside(width: int) -> int:
    """Largest nside for a picture of this width, so that a small picture cannot require a huge sphere."""
    return min(LIMITS["nside"], max(_SMALL_NSIDE, width))


class NotHere(ValueError):
    """Error for a header that this version does not support but a later one may."""


def version_text(version: int) -> str:
    """Format a version number, for example as "1.0"."""
    return f"{version >> 8}.{version & 0xFF}"


def prologue(header: Header) -> bytes:
    """Encode the bytes of a stream before its first record."""
    body = _pack(header)
    front = PROLOGUE.pack(MAGIC, header.version, len(body)) + body
    return front + CRC.pack(zlib.crc32(front))


def unpack_header(version: int, body: bytes) -> Header:
    """Decode a header; fields that a later minor version has appended are ignored.

    Args:
        version: Version of the format, from the prologue.
        body: Bytes of the header.
    Returns:
        The header.
    Raises:
        NotHere: the film is stereoscopic, or does not have 8 bits per sample.
        ValueError: `prologue` cannot have written these bytes.
    """
    cursor = Cursor(body)
    width, height, fps_num, fps_den, tick_num, tick_den, quality, nside, gop_size, *small = cursor.unpack(_SIZES)
    layout, bits, full_range, matrix, primaries, transfer = small
    if layout != _MONO or bits != _BITS:
        raise NotHere(f"layout {layout} with {bits} bits, this installation reads layout {_MONO} with {_BITS} bits")
    texts = [cursor.take(cursor.unpack(_LENGTH)[0]).decode() for _ in _TEXTS]
    hashes = [cursor.take(_HASH_BYTES).hex() for _ in _HASHES]
    if version <= FORMAT_VERSION:
        cursor.end()
    names = {number: name for name, number in MATRICES.items()}
    if full_range > 1 or matrix not in names:
        raise ValueError(f"a range of {full_range} or a matrix of {matrix} means nothing")
    return Header(
        version=version,
        width=width,
        height=height,
        fps_num=fps_num,
        fps_den=fps_den,
        full_range=bool(full_range),
        matrix=names[matrix],
        nside=nside,
        pixel_order=texts[0],
        model=texts[1],
        weights_hash=hashes[0],
        tables_hash=hashes[1],
        graph_hash=hashes[2],
        model_quality=quality,
        gop_size=gop_size,
        primaries=primaries,
        transfer=transfer,
        tick_num=tick_num,
        tick_den=tick_den,
    )


def _pack(header: Header) -> bytes:
    values = asdict(header)
    sizes = _SIZES.pack(
        header.width,
        header.height,
        header.fps_num,
        header.fps_den,
        header.tick_num,
        header.tick_den,
        header.model_quality,
        header.nside,
        header.gop_size,
        _MONO,
        _BITS,
        header.full_range,
        MATRICES[header.matrix],
        header.primaries,
        header.transfer,
    )
    texts = b"".join(_text(values[name]) for name in _TEXTS)
    return sizes + texts + b"".join(bytes.fromhex(values[name]) for name in _HASHES)


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) >= 1 << 16:
        raise ValueError(f"a text of {len(data)} bytes, expected fewer than {1 << 16}")
    return _LENGTH.pack(len(data)) + data


def _is_sha256(digest: str) -> bool:
    return len(digest) == 2 * _HASH_BYTES and set(digest) <= set("0123456789abcdef")
