"""Conversion between RGB and 8-bit 4:2:0 YUV.

A chroma sample lies in the centre of its 2x2 pixels; the picture wraps at its left and right edges.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from deepsphere_codec.frames import LUMA_WEIGHTS, VideoInfo, YuvFrame

Plane = Float[np.ndarray, "_ _"]


def yuv_to_rgb(frame: YuvFrame, info: VideoInfo) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a frame to RGB; chroma is interpolated linearly, also across the +-180 degree seam.

    Args:
        frame: Planes of any even size.
        info: Film information, of which matrix and full_range are used.
    Returns:
        RGB, uint8, [H, W, 3].
    """
    kr, kb = LUMA_WEIGHTS[info.matrix]
    offset, luma, chroma = _range(info.full_range)
    y = (frame.y.astype(np.float32) - offset) / luma
    cb, cr = (_chroma_up(plane.astype(np.float32) - 128) / chroma for plane in (frame.u, frame.v))
    r = y + 2 * (1 - kr) * cr
    b = y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return _to_uint8(np.stack([r, g, b], axis=-1) * 255)


def rgb_to_yuv(
    rgb: UInt8[np.ndarray, "height width 3"], *, matrix: str = "bt709", full_range: bool = False
) -> YuvFrame:
    """Convert a picture to 8-bit 4:2:0; a chroma sample is the mean over its 2x2 pixels.

    Args:
        rgb: Picture, uint8, [H, W, 3], H and W even.
        matrix: Colour matrix, "bt709", "bt601" or "bt2020".
        full_range: Use luma 0 ... 255 instead of 16 ... 235.
    Returns:
        The frame.
    Raises:
        ValueError: H or W is odd.
    """
    height, width, _ = rgb.shape
    if height % 2 or width % 2:
        raise ValueError(f"4:2:0 takes even sizes, got {width}x{height}")
    kr, kb = LUMA_WEIGHTS[matrix]
    offset, luma, chroma = _range(full_range)
    r, g, b = (rgb[..., i].astype(np.float32) / 255 for i in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb = _mean_2x2(b - y) / (2 * (1 - kb))
    cr = _mean_2x2(r - y) / (2 * (1 - kr))
    return YuvFrame(*(_to_uint8(plane) for plane in (y * luma + offset, cb * chroma + 128, cr * chroma + 128)))


def _range(full_range: bool) -> tuple[int, int, int]:
    """Offset and scale of luma, and scale of chroma."""
    return (0, 255, 255) if full_range else (16, 219, 224)


def _mean_2x2(plane: Plane) -> Plane:
    return (plane[0::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 0::2] + plane[1::2, 1::2]) / 4


def _chroma_up(plane: Plane) -> Plane:
    """Double the resolution linearly: each new sample lies a quarter of the way to the next old one."""
    height, width = plane.shape
    rows = np.concatenate([plane[:1], plane, plane[-1:]])
    tall = np.empty((2 * height, width), np.float32)
    tall[0::2] = 0.75 * plane + 0.25 * rows[:-2]
    tall[1::2] = 0.75 * plane + 0.25 * rows[2:]
    wide = np.empty((2 * height, 2 * width), np.float32)
    wide[:, 0::2] = 0.75 * tall + 0.25 * np.roll(tall, 1, axis=1)
    wide[:, 1::2] = 0.75 * tall + 0.25 * np.roll(tall, -1, axis=1)
    return wide


def _to_uint8(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
