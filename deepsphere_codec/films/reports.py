"""What an encode or a decode did."""

from __future__ import annotations

from typing import NamedTuple


class EncodeReport(NamedTuple):
    """What an encode did; the seconds run from the first frame read to the file's end, model loading left out.

    `bytes` are the file's, `bpp` is that of its pictures: audio and tags do not count. Of an encode that went on where
    another broke off the seconds are its own, and so are the frames per second.
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
    """What of the film is left out, and why; a sentence each."""


class DecodeReport(NamedTuple):
    """What a decode did; frames are those written, the seconds include those decoded on the way to the first.

    Frames that were lost to damage are filled with others, and counted in `filled`; `damages` says what is damaged.
    """

    frames: int
    width: int
    height: int
    decode_seconds: float
    frames_per_second: float
    filled: int = 0
    damages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What of the stream the output has no place for; a sentence each."""
