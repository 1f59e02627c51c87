"""Frames of a film (8-bit 4:2:0 pictures), and the properties that are needed to show them."""

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
    """A picture with 8 bits per sample, 4:2:0.

    Attributes:
        y: Luma, [height, width].
        u: Chroma Cb, [height / 2, width / 2]; a sample covers 2x2 pixels.
        v: Chroma Cr, [height / 2, width / 2].
    """

    y: UInt8[np.ndarray, "height width"]
    u: UInt8[np.ndarray, "half_height half_width"]
    v: UInt8[np.ndarray, "half_height half_width"]


class VideoInfo(NamedTuple):
    """Properties of a film.

    Attributes:
        width: Columns of a picture.
        height: Rows of a picture.
        fps: Frames per second.
        frames: Number of frames in the whole film according to its file, which may be wrong; None if it is not stored.
        full_range: Whether luma spans 0 ... 255 instead of 16 ... 235.
        matrix: Colour matrix from RGB to YUV: "bt709", "bt601" or "bt2020".
        knows_fps: Whether `fps` is stored in the film, and not a default (as for a folder of pictures).
        primaries: Colour primaries, number of ITU-T H.273 (1: BT.709, 9: BT.2020); 2 (unspecified) means those
            customary for the matrix.
        transfer: Transfer characteristics, number of ITU-T H.273 (1: BT.709, 16: PQ, 18: HLG); 2 (unspecified) means
            those customary for the matrix.
        time_base: Unit of the frames' timestamps, seconds; None if frames are evenly spaced (n / fps).
    """

    width: int
    height: int
    fps: Fraction
    frames: int | None
    full_range: bool
    matrix: str
    knows_fps: bool = True
    primaries: int = 1
    transfer: int = 1
    time_base: Fraction | None = None

    @property
    def tick(self) -> Fraction:
        """Unit of timestamps in seconds: `time_base`, or the duration of a frame if frames are evenly spaced."""
        return self.time_base or 1 / self.fps
