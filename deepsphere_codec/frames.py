"""What a film is made of here: 8-bit 4:2:0 pictures, and what one must know to show them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

LUMA_WEIGHTS = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
"""Kr and Kb of each matrix. Source: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance)."""


class YuvFrame(NamedTuple):
    """One picture, 8 bits, 4:2:0: each chroma sample stands for 2x2 pixels."""

    y: UInt8[np.ndarray, "height width"]
    u: UInt8[np.ndarray, "half_height half_width"]
    v: UInt8[np.ndarray, "half_height half_width"]


class VideoInfo(NamedTuple):
    """What a film is, apart from its pictures."""

    width: int
    height: int
    fps: Fraction
    frames: int | None
    """In the whole film, as its file says, for a progress bar; None where it does not say. Not a promise."""
    full_range: bool
    """Luma 0 ... 255; otherwise 16 ... 235."""
    matrix: str
    """From RGB to YUV: "bt709", "bt601" or "bt2020"."""
    knows_fps: bool = True
    """Whether `fps` is the film's own; a folder of pictures has none, and what stands there is a default."""
    primaries: int = 1
    """Of the colours, as ITU-T H.273 numbers them (1: BT.709, 9: BT.2020); 2: not said, taken to be the matrix's."""
    transfer: int = 1
    """Characteristics, as ITU-T H.273 numbers them (1: BT.709, 16: PQ, 18: HLG); 2: not said, the matrix's."""
    time_base: Fraction | None = None
    """Unit of the frames' timestamps, in seconds; None: they lie evenly, n / fps, and need none."""

    @property
    def tick(self) -> Fraction:
        """What timestamps count, in seconds: `time_base`, or where frames lie evenly their duration."""
        return self.time_base or 1 / self.fps
