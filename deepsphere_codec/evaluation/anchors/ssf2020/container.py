r"""The `.ssf` file. All numbers are little-endian, all checksums CRC-32.

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
from fractions import Fraction
from typing import NamedTuple

from deepsphere_codec.bitstream.cursor import Cursor, varint
from deepsphere_codec.bitstream.layout import CRC, PROLOGUE, record_crc
from deepsphere_codec.errors import DamagedStream, IncompatibleStream
from deepsphere_codec.frames import LUMA_WEIGHTS, VideoInfo

FORMAT_VERSION = 1
STRINGS = {"I": 2, "P": 4}
MAX_SIDE = 1 << 14
"""Largest width or height: the decoder allocates a picture of that size before it reads a frame."""

_MAGIC = b"\x89SSF\r\n\x1a\n"
_HEADER = struct.Struct("<8I?32s")
_FRAME = struct.Struct("<BII")


class Frame(NamedTuple):
    """Coded frame: strings of the entropy coder, two for an I-frame, four for a P-frame."""

    strings: Sequence[bytes]

    @property
    def frame_type(self) -> str:
        """Type of the frame, "I" or "P"."""
        return "I" if len(self.strings) == STRINGS["I"] else "P"

    @property
    def payload(self) -> bytes:
        """Concatenation of the strings as stored in the file."""
        return b"".join([*(varint(len(string)) for string in self.strings[:-1]), *self.strings])


class SsfFile(NamedTuple):
    """Contents of a file.

    Attributes:
        info: Size, rate and colours of the film.
        gop: Frames from I-frame to I-frame.
        threads: Number of threads of the encoder; another number changes the order of sums, and thereby symbols.
        quality: Quality of the network, 1 … 8.
        weights_hash: SHA-256, hex, of the encoder's weights; see `weights.weights_hash`.
        frames: Coded frames.
    """

    info: VideoInfo
    gop: int
    threads: int
    quality: int
    weights_hash: str
    frames: Sequence[Frame]


def pack(file: SsfFile) -> bytes:
    """Serialise a whole file."""
    info, frames = file.info, file.frames
    numbers = info.width, info.height, *info.fps.as_integer_ratio(), file.gop, len(frames), file.threads, file.quality
    body = _HEADER.pack(*numbers, info.full_range, bytes.fromhex(file.weights_hash)) + info.matrix.encode()
    front = PROLOGUE.pack(_MAGIC, FORMAT_VERSION, len(body)) + body
    crc = zlib.crc32(front)
    parts = [front, CRC.pack(crc)]
    for number, frame in enumerate(frames):
        kind, payload = ord(frame.frame_type), frame.payload
        parts += [_FRAME.pack(kind, len(payload), record_crc(crc, number, kind, payload)), payload]
    return b"".join(parts)


def unpack(data: bytes, name: str) -> SsfFile:
    """Parse and check a whole file.

    Args:
        data: Bytes of the file.
        name: Name of the file, for messages.
    Returns:
        Contents of the file.
    Raises:
        DamagedStream: it is no `.ssf` file, truncated, or altered.
        IncompatibleStream: its format is newer than this package.
    """
    if not data.startswith(_MAGIC):
        raise DamagedStream(f"{name}: not an .ssf file: it begins with {data[:8].hex(' ') or 'nothing'}")
    cursor = Cursor(data)
    try:
        _, version, length = cursor.unpack(PROLOGUE)
        body, crc = cursor.take(length), zlib.crc32(data[: PROLOGUE.size + length])
        if cursor.unpack(CRC) != (crc,):
            raise ValueError("the header's checksum differs")
        if version != FORMAT_VERSION:
            raise IncompatibleStream(f"{name}: version {version} of the format, expected {FORMAT_VERSION}")
        *numbers, full_range, weights_hash = _HEADER.unpack_from(body)
        width, height, fps_num, fps_den, gop, count, threads, quality = numbers
        matrix = body[_HEADER.size :].decode()
        if not all(numbers) or max(width, height) > MAX_SIDE or width % 2 or height % 2 or matrix not in LUMA_WEIGHTS:
            raise ValueError(f"the header holds {numbers}, {matrix!r}: no such file was ever written")
        info = VideoInfo(width, height, Fraction(fps_num, fps_den), count, full_range, matrix)
        frames = [_unpack_frame(cursor, crc, number, gop) for number in range(count)]
        cursor.end()
    except (struct.error, ValueError) as error:
        raise DamagedStream(f"{name} is cut short or altered: {error}") from error
    return SsfFile(info, gop, threads, quality, weights_hash.hex(), frames)


def _unpack_frame(cursor: Cursor, header_crc: int, number: int, gop: int) -> Frame:
    kind, length, crc = cursor.unpack(_FRAME)
    payload = cursor.take(length)
    if crc != record_crc(header_crc, number, kind, payload):
        raise ValueError(f"the checksum of frame {number} differs")
    if chr(kind) != (due := "P" if number % gop else "I"):
        raise ValueError(f"frame {number} is of type {chr(kind)!r}, expected {due!r}")
    strings = Cursor(payload)
    lengths = [strings.varint() for _ in range(STRINGS[due] - 1)]
    return Frame([*map(strings.take, lengths), strings.rest()])
