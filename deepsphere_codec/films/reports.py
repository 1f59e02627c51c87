"""Reports of an encode and a decode."""

from __future__ import annotations

from typing import NamedTuple


class EncodeReport(NamedTuple):
    """Report of an encode.

    `encode_seconds` runs from the first frame read to the end of the file, without loading the model. `bytes` is the
    size of the file; `bpp` is bits per source pixel of the pictures alone, without audio and tags. After a resumed
    encode `encode_seconds` and `frames_per_second` are those of the last run.
    """

    frames: int
    width: int
    height: int
    nside: int
    model: str
    quality: float
    bytes: int
    bpp: float
    encode_seconds: float
    frames_per_second: float
    notes: tuple[str, ...] = ()
    """Sentences about audio and tags that are omitted, and why."""


class DecodeReport(NamedTuple):
    """Report of a decode.

    `frames` is the number of frames written; `decode_seconds` includes frames decoded before the first of them. Lost
    frames are replaced by others and counted in `filled`; `damages` describes the damages.
    """

    frames: int
    width: int
    height: int
    decode_seconds: float
    frames_per_second: float
    filled: int = 0
    damages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about audio and tags that the output cannot store."""
