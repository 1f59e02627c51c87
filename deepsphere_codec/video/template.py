"""Supported audio codecs, and creation of tracks for them in PyAV without encoding or decoding.

PyAV sets a track's codec and the data for its decoder only from the track of another film. Therefore an empty film with
a track of that codec is created in memory, and the parameters are set on the copied track.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import av
from av.container import InputContainer


class MatroskaCodec(NamedTuple):
    """Codec of an audio track in Matroska.

    Attributes:
        codec_id: Matroska's id.
        bits: Bits per sample, if the id does not imply them, else 0.
    """

    codec_id: str
    bits: int = 0


CARRIED = {
    "aac": MatroskaCodec("A_AAC"),
    "ac3": MatroskaCodec("A_AC3"),
    "alac": MatroskaCodec("A_ALAC"),
    "dts": MatroskaCodec("A_DTS"),
    "eac3": MatroskaCodec("A_EAC3"),
    "flac": MatroskaCodec("A_FLAC"),
    "mlp": MatroskaCodec("A_MLP"),
    "mp2": MatroskaCodec("A_MPEG/L2"),
    "mp3": MatroskaCodec("A_MPEG/L3"),
    "opus": MatroskaCodec("A_OPUS"),
    "pcm_f32le": MatroskaCodec("A_PCM/FLOAT/IEEE", 32),
    "pcm_f64le": MatroskaCodec("A_PCM/FLOAT/IEEE", 64),
    "pcm_s16be": MatroskaCodec("A_PCM/INT/BIG", 16),
    "pcm_s16le": MatroskaCodec("A_PCM/INT/LIT", 16),
    "pcm_s24be": MatroskaCodec("A_PCM/INT/BIG", 24),
    "pcm_s24le": MatroskaCodec("A_PCM/INT/LIT", 24),
    "pcm_s32be": MatroskaCodec("A_PCM/INT/BIG", 32),
    "pcm_s32le": MatroskaCodec("A_PCM/INT/LIT", 32),
    "pcm_u8": MatroskaCodec("A_PCM/INT/LIT", 8),
    "truehd": MatroskaCodec("A_TRUEHD"),
    "tta": MatroskaCodec("A_TTA1"),
    "vorbis": MatroskaCodec("A_VORBIS"),
    "wavpack": MatroskaCodec("A_WAVPACK4"),
}
"""Audio codecs that are copied, by FFmpeg's names. Source: IETF RFC 9559, and its codec mappings
(matroska.org/technical/codec_specs.html)."""


def open_template(codec: str) -> InputContainer:
    """Open an empty film in memory that has one track of a codec of `CARRIED`."""
    return av.open(io.BytesIO(_empty_matroska(CARRIED[codec])), "r", format="matroska")


def _empty_matroska(codec: MatroskaCodec) -> bytes:
    """Encode an empty Matroska file with one audio track. Source of the numbers: IETF RFC 9559, section 5.1."""
    audio = _element(0xB5, struct.pack(">d", 48000.0)) + _element(0x9F, b"\2")  # rate, channels
    if codec.bits:
        audio += _element(0x6264, bytes([codec.bits]))
    numbers = _element(0xD7, b"\1") + _element(0x73C5, b"\1") + _element(0x83, b"\2")  # number, UID, type: audio
    track = _element(0xAE, numbers + _element(0x86, codec.codec_id.encode()) + _element(0xE1, audio))
    info = _element(0x1549A966, _element(0x2AD7B1, (10**6).to_bytes(3, "big")))  # a tick is a millisecond
    cluster = _element(0x1F43B675, _element(0xE7, b"\0"))
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska") + _element(0x4287, b"\4") + _element(0x4285, b"\2"))
    return head + _element(0x18538067, info + _element(0x1654AE6B, track) + cluster)


def _element(number: int, body: bytes) -> bytes:
    """Encode an EBML element: its id, the length of its body in 4 bytes, its body."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + struct.pack(">I", 1 << 28 | len(body)) + body
