"""One picture as clips hold it: planar 4:2:0, limited range, 2:1."""

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
    """Left, then right; one whole picture where there are no two."""
    if stereo == "none":
        return [frame]
    halves = [np.split(plane, 2, axis=0 if stereo == "top-bottom" else 1) for plane in frame]
    return [YuvFrame(*planes) for planes in zip(*halves, strict=True)]


def pack(frame: YuvFrame, width: int, full_range: bool) -> Packed:
    """Brought to 2:1, at most so wide, and to limited range."""
    scaled = _scaled(frame, width)
    planes = _limited(scaled) if full_range else scaled
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, planes.y.shape[1])


def _scaled(frame: YuvFrame, width: int) -> YuvFrame:
    """2:1, at most so wide, and no wider than it is."""
    width = max(4, min(width, frame.y.shape[1] // 4 * 4))
    sizes = [(width // 2, width)] + [(width // 4, width // 2)] * 2
    return YuvFrame(*(_area(plane, size) for plane, size in zip(frame, sizes, strict=True)))


def _area(plane: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2"]:
    if plane.shape == size:
        return plane
    scaled = F.interpolate(torch.tensor(plane)[None, None].float(), size=size, mode="area")
    return scaled[0, 0].round().to(torch.uint8).numpy()


def _limited(frame: YuvFrame) -> YuvFrame:
    """Full range (panoramas) to limited range, as films have it: networks see one kind of numbers."""
    y, *chroma = (np.asarray(plane, np.float32) for plane in frame)
    planes = [y * (219 / 255) + 16, *((plane - 128) * (224 / 255) + 128 for plane in chroma)]
    return YuvFrame(*(np.rint(plane).astype(np.uint8) for plane in planes))
