"""Conversion of PyAV's frames to `YuvFrame`."""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange
from jaxtyping import UInt8

from deepsphere_codec.errors import UsageError
from deepsphere_codec.frames import YuvFrame
from deepsphere_codec.video.colour import rgb_to_yuv
from deepsphere_codec.video.tags import tags_of

MATRICES = {1: "bt709", 2: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}
"""Names of AVColorSpace's numbers; 2 is "unspecified", which at these sizes nearly always means BT.709."""

RGB_MATRIX = "bt709"
PLANAR_420 = ("yuv420p", "yuvj420p")


class Colour(NamedTuple):
    """Colour of a film; the fields are those of `VideoInfo`."""

    full_range: bool
    matrix: str
    primaries: int
    transfer: int


def colour_of(frame: av.VideoFrame) -> Colour:
    """Return the colour of the frame that `frame_from_av` makes; unspecified tags are those customary for its matrix.

    Raises:
        UsageError: the colour matrix is not supported.
    """
    if _is_rgb(frame):
        return Colour(False, RGB_MATRIX, *tags_of(RGB_MATRIX, frame.color_primaries, frame.color_trc)[1:])
    if frame.colorspace not in MATRICES:
        names = ", ".join(sorted(set(MATRICES.values())))
        raise UsageError(f"its colour matrix (number {frame.colorspace}) is unknown here; convert it to one of {names}")
    matrix = MATRICES[frame.colorspace]
    return Colour(_is_full_range(frame), matrix, *tags_of(matrix, frame.color_primaries, frame.color_trc)[1:])


def frame_from_av(frame: av.VideoFrame) -> YuvFrame:
    """Convert a frame to 8-bit 4:2:0 in its own range and matrix; RGB becomes BT.709, limited range."""
    if _is_rgb(frame):
        return rgb_to_yuv(rgb_from_av(frame), matrix=RGB_MATRIX)
    if frame.format.name not in PLANAR_420:
        own_range = ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG
        frame = frame.reformat(format="yuv420p", src_color_range=own_range, dst_color_range=own_range)
    return YuvFrame(*(_plane(plane) for plane in frame.planes))


def rgb_from_av(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a frame to RGB, uint8, [H, W, 3], ignoring transparency."""
    return frame.to_ndarray(format="rgb24")


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _is_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _plane(plane: av.video.plane.VideoPlane) -> UInt8[np.ndarray, "height width"]:
    """Copy a plane without the padding at the end of each line; a copy, since PyAV reuses the buffer."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width].copy()
