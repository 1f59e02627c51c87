"""Classical encoders on single frames: number of bits for the WS-PSNR of another codec."""

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
"""Options of x265 for PSNR alone, with one reference: no psychovisual terms and no adaptive quantisation."""
REFERENCE_QP = 1
"""QP of the references, low enough that their own loss is negligible: their PSNR is 70 dB or more."""
_GREY = 128  # value of a zero residual


class RatePoint(NamedTuple):
    """One encoding of a frame.

    Attributes:
        bits: Bits of the frame's packet.
        decibels: WS-PSNR-YUV of the decoded ERP picture against the source, at most 100.
    """

    bits: int
    decibels: float


Encode = Callable[[float], RatePoint]
"""Function that encodes a frame at a level of the encoder's own scale (QP or crf: smaller is better)."""


class Levels(NamedTuple):
    """Range of levels on an encoder's own scale to search in; smaller is better.

    Attributes:
        first: Level to begin with.
        stride: Distance between levels until two of them enclose the target.
        step: Distance at which halving the interval between two such levels stops.
        finest: Best level of the scale.
        coarsest: Worst level of the scale.
    """

    first: int
    stride: int
    step: int
    finest: int
    coarsest: int


# Interpolation overestimates the bits of overpass_clip01's I-frame: x265 up to 0.7 % with step 2, SVT-AV1 2.5 %.
QP = Levels(first=30, stride=8, step=2, finest=1, coarsest=51)
AV1_CRF = Levels(first=40, stride=8, step=1, finest=1, coarsest=63)


def bits_at(points: Iterable[RatePoint], decibels: float) -> float | None:
    """Interpolate the bits at a WS-PSNR between the two nearest points: the logarithm of the bits is linear in dB.

    Args:
        points: Encodings of one frame, in any order.
        decibels: Target WS-PSNR-YUV, dB.
    Returns:
        Bits; None if the points do not enclose the target.
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
    """Encode at levels that converge to a target WS-PSNR.

    Args:
        encode: Encoder of one frame.
        decibels: Target WS-PSNR-YUV, dB.
        levels: Range of levels.
    Returns:
        All encodings in order; they may all lie on one side of the target if the scale ends first.
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
    """Move one stride towards the target WS-PSNR, within the scale."""
    moved = level + levels.stride if point.decibels > decibels else level - levels.stride
    return min(max(moved, levels.finest), levels.coarsest)


def encode_from_references(source: YuvFrame, references: Sequence[YuvFrame], info: VideoInfo, qp: float) -> RatePoint:
    """Encode a frame with x265 medium from given references, which are coded nearly losslessly and are not counted.

    With one reference the frame is a P-frame that follows it. With two it is a B-frame between them.

    Args:
        source: Frame to encode.
        references: One or two pictures of its size, in order of display.
        info: Size and rate of the film.
        qp: QP of the frame, 1 ... 51.
    Returns:
        Bits of the frame's packet alone, and its WS-PSNR.
    Raises:
        ValueError: the number of references is neither one nor two.
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
    return _point(packets[-1], source, decoded[1])  # the frame is the last in order of decoding


def encode_residual(source: YuvFrame, prediction: YuvFrame, info: VideoInfo, qp: float) -> RatePoint:
    """Encode the residual of a prediction as a separate picture, with x265 medium's intra coding.

    Args:
        source: Frame to encode.
        prediction: Picture of its size, subtracted before coding and added after it.
        info: Size and rate of the film.
        qp: QP, 1 ... 51.
    Returns:
        Bits of the residual's packet, and the WS-PSNR of prediction plus decoded residual.
    """
    residual = YuvFrame(*(_clipped(_wide(x) - x_pred + _GREY) for x, x_pred in zip(source, prediction, strict=True)))
    packets, (decoded,) = _code([residual], info, _x265(f"qp={qp:g}:ipratio=1:{PLAIN}"))
    picture = YuvFrame(*(_clipped(_wide(r) + x_pred - _GREY) for r, x_pred in zip(decoded, prediction, strict=True)))
    return _point(packets[0], source, picture)


def encode_intra(source: YuvFrame, info: VideoInfo, anchor: str, crf: float) -> RatePoint:
    """Encode one frame alone with the settings of a classical anchor.

    Args:
        source: Frame to encode.
        info: Size and rate of the film.
        anchor: Key of ANCHORS.
        crf: Level of the anchor's own scale.
    Returns:
        Bits of its packet, and its WS-PSNR.
    """
    coder = ANCHORS[anchor].coder()
    stream = coder.encode([source], info, crf)
    (decoded,) = coder.decode(stream, info)
    return _point(stream.packets[0], source, decoded)


def frame_psnr(source: YuvFrame, decoded: YuvFrame) -> float:
    """Compute the WS-PSNR-YUV of an ERP picture.

    Args:
        source: Source.
        decoded: Decoded picture of the same size.
    Returns:
        WS-PSNR-YUV in dB, at most 100.
    """
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
