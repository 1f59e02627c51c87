"""Classical encoders on single frames: how many bits they need for a WS-PSNR that another codec has reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from deepsphere_codec.evaluation.anchors.classical import ANCHORS, X265
from deepsphere_codec.metrics.psnr import MAX_DB, Planes, ws_psnr_yuv
from deepsphere_codec.video import VideoInfo, YuvFrame
from deepsphere_codec.video.anchor import AnchorPacket, AnchorSettings, decode_anchor, encode_anchor

PLAIN = "ref=1:psy-rd=0:psy-rdoq=0:aq-mode=0:weightp=0"
"""x265 for PSNR alone, with one reference: no psychovisual terms and no adaptive quantisation."""
REFERENCE_QP = 1
"""QP of the references, whose own loss must not count: at 1 they keep 70 dB and more."""
_GREY = 128  # of a residual of zero


class RatePoint(NamedTuple):
    """One encoding of a frame.

    Attributes:
        bits: Bits of the frame's packet.
        decibels: WS-PSNR-YUV of the decoded ERP picture against the source, at most 100.
    """

    bits: int
    decibels: float


Encode = Callable[[float], RatePoint]
"""Encodes a frame at a level of the encoder's own scale (QP or crf: smaller is better)."""


class Levels(NamedTuple):
    """Levels of an encoder's own scale to search in; smaller is better.

    Attributes:
        first: Level to begin with.
        stride: Distance between levels until two of them enclose what is looked for.
        step: Distance that such two levels are brought down to by halving.
        finest, coarsest: Ends of the scale.
    """

    first: int
    stride: int
    step: int
    finest: int
    coarsest: int


# Interpolation adds to the bits of overpass_clip01's I-frame: x265 up to 0.7 % with a step of 2, SVT-AV1 2.5 %.
QP = Levels(first=30, stride=8, step=2, finest=1, coarsest=51)
AV1_CRF = Levels(first=40, stride=8, step=1, finest=1, coarsest=63)


def bits_at(points: Iterable[RatePoint], decibels: float) -> float | None:
    """Bits at a WS-PSNR, interpolated between the two nearest points: the logarithm of the bits is linear in dB.

    Args:
        points: Encodings of one frame, in any order.
        decibels: WS-PSNR-YUV to reach.
    Returns:
        Bits; None where the points do not reach from below this PSNR to above it.
    """
    ordered = sorted(points, key=lambda point: point.decibels)
    for low, high in pairwise(ordered):
        if low.decibels <= decibels <= high.decibels:
            if high.decibels == low.decibels:
                return float(min(low.bits, high.bits))
            share = (decibels - low.decibels) / (high.decibels - low.decibels)
            return math.exp((1 - share) * math.log(low.bits) + share * math.log(high.bits))
    return None


def points_around(encode: Encode, decibels: float, levels: Levels) -> list[RatePoint]:
    """Encode at levels that close in on a WS-PSNR.

    Args:
        encode: Encoder of one frame.
        decibels: WS-PSNR-YUV to reach.
        levels: Levels to search in.
    Returns:
        All encodings made, in order; the last of them lie on one side of the WS-PSNR where the scale ends first.
    """
    points = {levels.first: encode(levels.first)}
    inside, outside = levels.first, _next(levels.first, points[levels.first], decibels, levels)
    while outside != inside:
        points[outside] = encode(outside)
        if (points[outside].decibels > decibels) != (points[inside].decibels > decibels):
            break
        inside, outside = outside, _next(outside, points[outside], decibels, levels)
    low, high = sorted((inside, outside))
    while high - low > levels.step:
        middle = (low + high) // 2
        points[middle] = encode(middle)
        low, high = (middle, high) if points[middle].decibels > decibels else (low, middle)
    return list(points.values())


def _next(level: int, point: RatePoint, decibels: float, levels: Levels) -> int:
    """One stride towards a WS-PSNR, within the scale."""
    moved = level + levels.stride if point.decibels > decibels else level - levels.stride
    return min(max(moved, levels.finest), levels.coarsest)


def encode_from_references(source: YuvFrame, references: Sequence[YuvFrame], info: VideoInfo, qp: float) -> RatePoint:
    """Encode a frame with x265 medium from given references, which are coded nearly without loss and do not count.

    With one reference the frame is a P-frame that follows it. With two it is a B-frame between them.

    Args:
        source: Frame to encode.
        references: One or two pictures of its size, in order of display.
        info: Size and rate of the film.
        qp: QP of the frame, 1 ... 51.
    Returns:
        Bits of the frame's packet alone, and its WS-PSNR.
    Raises:
        ValueError: there are neither one nor two references.
    """
    if len(references) not in (1, 2):
        raise ValueError(f"x265 got {len(references)} references; give one or two")
    before, after = references[0], references[1:]
    # With a constant QP x265 sets the P-frames' QP, and that of I- and B-frames by these ratios: six steps double it.
    ratio = 2 ** ((qp - REFERENCE_QP) / 6)
    if after:
        kind = f"bframes=1:b-adapt=0:b-pyramid=0:weightb=0:qp={REFERENCE_QP}:ipratio=1:pbratio={ratio:.6f}"
    else:
        kind = f"bframes=0:qp={qp:g}:ipratio={ratio:.6f}"
    packets, decoded = _code([before, source, *after], info, _x265(f"{kind}:{PLAIN}"))
    return _point(packets[-1], source, decoded[1])  # in order of decoding the frame comes last


def encode_residual(source: YuvFrame, prediction: YuvFrame, info: VideoInfo, qp: float) -> RatePoint:
    """Encode the residual of a prediction as a picture of its own, with x265 medium's intra coding.

    Args:
        source: Frame to encode.
        prediction: Picture of its size, which is taken away before coding and added after it.
        info: Size and rate of the film.
        qp: QP, 1 ... 51.
    Returns:
        Bits of the residual's packet, and the WS-PSNR of prediction and decoded residual together.
    """
    residual = YuvFrame(*(_clipped(_wide(x) - x_pred + _GREY) for x, x_pred in zip(source, prediction, strict=True)))
    packets, (decoded,) = _code([residual], info, _x265(f"qp={qp:g}:ipratio=1:{PLAIN}"))
    picture = YuvFrame(*(_clipped(_wide(r) + x_pred - _GREY) for r, x_pred in zip(decoded, prediction, strict=True)))
    return _point(packets[0], source, picture)


def encode_intra(source: YuvFrame, info: VideoInfo, anchor: str, crf: float) -> RatePoint:
    """Encode one frame alone, as a classical anchor encodes films.

    Args:
        source: Frame to encode.
        info: Size and rate of the film.
        anchor: Key of ANCHORS.
        crf: Level of the anchor's own scale.
    Returns:
        Bits of its only packet, and its WS-PSNR.
    """
    coder = ANCHORS[anchor].coder()
    stream = coder.encode([source], info, crf)
    (decoded,) = coder.decode(stream, info)
    return _point(stream.packets[0], source, decoded)


def frame_psnr(source: YuvFrame, decoded: YuvFrame) -> float:
    """WS-PSNR-YUV of an ERP picture, dB, at most 100."""
    return min(MAX_DB, float(ws_psnr_yuv(Planes(*source), Planes(*decoded))))


def _x265(parameters: str) -> AnchorSettings:
    return AnchorSettings("libx265", "hevc", {"preset": "medium", "x265-params": f"{X265}:{parameters}"}, threads=0)


def _code(
    frames: Sequence[YuvFrame], info: VideoInfo, settings: AnchorSettings
) -> tuple[Sequence[AnchorPacket], list[YuvFrame]]:
    """Packets in order of decoding, and decoded frames in order of display."""
    stream = encode_anchor(frames, info, settings)
    return stream.packets, list(decode_anchor(stream))


def _point(packet: AnchorPacket, source: YuvFrame, decoded: YuvFrame) -> RatePoint:
    return RatePoint(8 * len(packet.data), frame_psnr(source, decoded))


def _wide(plane: np.ndarray) -> Int16[np.ndarray, "h w"]:
    return plane.astype(np.int16)


def _clipped(plane: Int16[np.ndarray, "h w"]) -> np.ndarray:
    return plane.clip(0, 255).astype(np.uint8)
