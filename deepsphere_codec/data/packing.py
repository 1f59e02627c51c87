"""Conversion of a picture to the format of prepared clips: planar 4:2:0, limited range, 2:1."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

from deepsphere_codec.data.record import Stereo
from deepsphere_codec.video import YuvFrame

Packed = UInt8[np.ndarray, "rows width"]
"""One picture, planar 4:2:0, rows = 3/2 height: Y, then Cb and Cr."""


def split_eyes(frame: YuvFrame, stereo: Stereo) -> list[YuvFrame]:
    """Split a stereo picture into the pictures of the two eyes.

    Args:
        frame: Picture.
        stereo: Layout of the eyes in the picture.
    Returns:
        Left eye and right eye; the whole picture alone if the layout is "none".
    """
    if stereo == "none":
        return [frame]
    halves = [np.split(plane, 2, axis=0 if stereo == "top-bottom" else 1) for plane in frame]
    return [YuvFrame(*planes) for planes in zip(*halves, strict=True)]


def pack(frame: YuvFrame, width: int, full_range: bool) -> Packed:
    """Convert a picture to aspect ratio 2:1, limited range and planar 4:2:0.

    Args:
        frame: Picture.
        width: Largest width in pixels; a wider picture is averaged down to it.
        full_range: Whether the picture's values are full range.
    Returns:
        Packed picture, [3/2 height, width].
    """
    scaled = _scaled(frame, width)
    planes = _limited(scaled) if full_range else scaled
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, planes.y.shape[1])


def _scaled(frame: YuvFrame, width: int) -> YuvFrame:
    """Scale a picture to 2:1 with at most the given width; it is never enlarged."""
    width = max(4, min(width, frame.y.shape[1] // 4 * 4))
    sizes = [(width // 2, width)] + [(width // 4, width // 2)] * 2
    return YuvFrame(*(_area(plane, size) for plane, size in zip(frame, sizes, strict=True)))


def _area(plane: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2"]:
    if plane.shape == size:
        return plane
    scaled = F.interpolate(torch.tensor(plane)[None, None].float(), size=size, mode="area")
    return scaled[0, 0].round().to(torch.uint8).numpy()


def _limited(frame: YuvFrame) -> YuvFrame:
    """Convert full range (panoramas) to limited range, the range of films, so that networks see one range only."""
    y, *chroma = (np.asarray(plane, np.float32) for plane in frame)
    planes = [y * (219 / 255) + 16, *((plane - 128) * (224 / 255) + 128 for plane in chroma)]
    return YuvFrame(*(np.rint(plane).astype(np.uint8) for plane in planes))
