r"""The `.ssf` file: bytes only, standard library only. All numbers are little-endian, all checksums CRC-32.

file     magic 89 53 53 46 0D 0A 1A 0A, version u16, length u32, header (`length` bytes), crc u32 of all before it;
         then the frames; nothing after them
header   width, height, fps_num, fps_den, gop, frames, threads, quality u32, full_range u8, weights_hash (32 bytes),
         matrix (UTF-8, the rest)
frame    type u8 ("I" or "P"), length u32, crc u32, payload (`length` bytes)
         crc covers: the header's crc, the frame's number u32 (from 0), type, length, payload
payload  length of each string but the last (LEB128), then the strings: of an I-frame y, z; of a P-frame y, z of the
         motion, y, z of the residual
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from deepsphere_codec.errors import DamagedStream, IncompatibleStream

FORMAT_VERSION = 1
STRINGS = {"I": 2, "P": 4}
MAX_SIDE = 1 << 14
"""Largest width or height: what a file asks for is allocated before its frames are read."""

_MAGIC = b"\x89SSF\r\n\x1a\n"
_FRONT = struct.Struct("<8sHI")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<8IB32s")
_FRAME = struct.Struct("<BII")
_FRAME_SEED = struct.Struct("<IIBI")
_COUNTS = ("width", "height", "fps_num", "fps_den", "gop", "frames", "threads", "quality")


@dataclass(frozen=True)
class SsfHeader:
    """What a file says of itself.

    Attributes:
        threads: That it was written with: other sums, other symbols.
        weights_hash: SHA-256, hex, of the weights that wrote it; see `weights.weights_hash`.
    Raises:
        ValueError: a value that the file cannot hold.
    """

    width: int
    height: int
    fps_num: int
    fps_den: int
    gop: int
    frames: int
    threads: int
    quality: int
    full_range: bool
    weights_hash: str
    matrix: str

    def __post_init__(self) -> None:
        values = asdict(self)
        for name in _COUNTS:
            if not 0 < values[name] < 1 << 32:
                raise ValueError(f"{name} is {values[name]}, expected 1 ... 2^32 - 1")
        if max(self.width, self.height) > MAX_SIDE or self.width % 2 or self.height % 2:
            raise ValueError(f"the size is {self.width}x{self.height}, expected even sides up to {MAX_SIDE}")


class Frame(NamedTuple):
    """One coded frame: "I" or "P", and the entropy coder's strings."""

    frame_type: str
    strings: tuple[bytes, ...]


def pack(header: SsfHeader, frames: Sequence[Frame]) -> bytes:
    """The whole file."""
    values = asdict(header)
    counts = (values[name] for name in _COUNTS)
    body = _HEADER.pack(*counts, header.full_range, bytes.fromhex(header.weights_hash)) + header.matrix.encode()
    front = _FRONT.pack(_MAGIC, FORMAT_VERSION, len(body)) + body
    crc = zlib.crc32(front)
    parts = [front, _CRC.pack(crc)]
    for number, frame in enumerate(frames):
        payload = pack_strings(frame.strings)
        kind = ord(frame.frame_type)
        parts += [_FRAME.pack(kind, len(payload), _frame_crc(crc, number, kind, payload)), payload]
    return b"".join(parts)


def unpack(data: bytes, name: str) -> tuple[SsfHeader, list[Frame]]:
    """Header and frames of a file; `name` is for messages.

    Raises:
        DamagedStream: it is no `.ssf` file, truncated, or altered.
        IncompatibleStream: its format is newer than this package.
    """
    header, crc, offset = _unpack_front(data, name)
    frames = []
    for number in range(header.frames):
        place = f"{name}: frame {number} at byte {offset}"
        if len(data) < offset + _FRAME.size:
            raise DamagedStream(f"{place} is cut short: the file ends at byte {len(data)}")
        kind, length, frame_crc = _FRAME.unpack_from(data, offset)
        start, offset = offset + _FRAME.size, offset + _FRAME.size + length
        payload = data[start:offset]
        if len(payload) < length or _frame_crc(crc, number, kind, payload) != frame_crc:
            raise DamagedStream(f"{place} is cut short or altered: its checksum differs")
        frames.append(_frame(chr(kind), payload, number % header.gop == 0, place))
    if offset != len(data):
        raise DamagedStream(f"{name}: {len(data) - offset} bytes follow the last frame")
    return header, frames


def pack_strings(strings: Sequence[bytes]) -> bytes:
    """Strings in one; that there are as many is known where they are read."""
    return b"".join([*(_leb128(len(string)) for string in strings[:-1]), *strings])


def unpack_strings(payload: bytes, count: int) -> tuple[bytes, ...]:
    """The strings that `pack_strings` made one of.

    Raises:
        ValueError: it made none such.
    """
    lengths, offset = [], 0
    for _ in range(count - 1):
        length, offset = _read_leb128(payload, offset)
        lengths.append(length)
    lengths.append(len(payload) - offset - sum(lengths))
    if lengths[-1] < 0:
        raise ValueError("its strings are longer than it is")
    strings = []
    for length in lengths:
        strings.append(payload[offset : offset + length])
        offset += length
    return tuple(strings)


def _unpack_front(data: bytes, name: str) -> tuple[SsfHeader, int, int]:
    """The header, its checksum, and where the frames begin."""
    if not data.startswith(_MAGIC):
        raise DamagedStream(f"{name}: not an .ssf file: it begins with {data[:8].hex(' ') or 'nothing'}")
    if len(data) < _FRONT.size:
        raise DamagedStream(f"{name}: the header is cut short: the file ends at byte {len(data)}")
    _, version, length = _FRONT.unpack_from(data)
    end = _FRONT.size + length
    if len(data) < end + _CRC.size or zlib.crc32(data[:end]) != _CRC.unpack_from(data, end)[0]:
        raise DamagedStream(f"{name}: the header is cut short or altered: its checksum differs")
    if version != FORMAT_VERSION:
        raise IncompatibleStream(f"{name}: version {version} of the format, this installation reads {FORMAT_VERSION}")
    try:
        *counts, full_range, digest = _HEADER.unpack_from(data[:end], _FRONT.size)
        matrix = data[_FRONT.size + _HEADER.size : end].decode()
        sizes = dict(zip(_COUNTS, counts, strict=True))
        header = SsfHeader(**sizes, full_range=bool(full_range), weights_hash=digest.hex(), matrix=matrix)
    except (struct.error, ValueError) as error:
        raise DamagedStream(f"{name}: the header is not one that was ever written: {error}") from error
    return header, zlib.crc32(data[:end]), end + _CRC.size


def _frame(frame_type: str, payload: bytes, first_of_gop: bool, place: str) -> Frame:
    if frame_type != ("I" if first_of_gop else "P"):
        raise DamagedStream(f"{place} is of type {frame_type!r}, which is not due there")
    try:
        return Frame(frame_type, unpack_strings(payload, STRINGS[frame_type]))
    except ValueError as error:
        raise DamagedStream(f"{place} is not one that was ever written: {error}") from error


def _frame_crc(header_crc: int, number: int, kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_FRAME_SEED.pack(header_crc, number, kind, len(payload))))


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_leb128(data: bytes, offset: int) -> tuple[int, int]:
    """The number, and where what follows it begins."""
    value = 0
    for shift in range(0, 35, 7):
        if offset >= len(data):
            break
        byte = data[offset]
        value, offset = value | (byte & 0x7F) << shift, offset + 1
        if byte < 0x80:
            return value, offset
    raise ValueError("a length in it has no end")
