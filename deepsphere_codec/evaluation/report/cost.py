"""How much a model is, and how much it computes."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepsphere_codec.codec import VideoDecoder, VideoEncoder
from deepsphere_codec.models import load_model
from deepsphere_codec.video import VideoInfo, YuvFrame

QUALITY = 4.0
SIZE = (256, 128)  # width, height; per pixel the count is the same at any size, to six digits
FLOPS_PER_MAC = 2


class Cost(NamedTuple):
    """Parameters, and thousands of multiplications with addition per ERP pixel of an I- and of a P-frame."""

    parameters: int
    encode_i: float
    encode_p: float
    decode_i: float
    decode_p: float


def cost_of(model: str, size: tuple[int, int] = SIZE) -> Cost:
    """Count what a model computes on frames of a size (width, height), both resamplings included.

    Counted are convolutions, matrix products and sums over neighbours; what works on each value alone is not. The
    frames are noise that turns, so that nothing is left out for being still.

    Raises:
        CodecError: there is no such model, or not for such frames.
    """
    loaded = load_model(model)
    width, height = size
    info = VideoInfo(width, height, Fraction(30), None, full_range=False, matrix="bt709")
    encoder = VideoEncoder(loaded, info, quality=QUALITY)
    decoder = VideoDecoder(encoder.header, loaded)
    counts = []
    for frame in _frames(width, height):
        with _counter() as encoding:
            coded = encoder.encode(frame)
        with _counter() as decoding:
            decoder.frame(decoder.decode(coded.frame_type, coded.payload))
        counts.append(
            [each.get_total_flops() / FLOPS_PER_MAC / (1000 * width * height) for each in (encoding, decoding)]
        )
    (encode_i, decode_i), (encode_p, decode_p) = counts
    return Cost(int(loaded.card.get("parameters", 0)), encode_i, encode_p, decode_i, decode_p)


def _frames(width: int, height: int) -> list[YuvFrame]:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8), np.uint8)
    luma = np.kron(noise, np.ones((8, 8), np.uint8))
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return [YuvFrame(np.roll(luma, shift, axis=1), chroma, chroma) for shift in (0, 3)]


def _counter() -> FlopCounterMode:
    bag = torch.ops.aten
    return FlopCounterMode(
        display=False, custom_mapping={bag._embedding_bag: _bag_flops, bag._embedding_bag_forward_only: _bag_flops}
    )


def _bag_flops(weight: Any, indices: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of sums over neighbours: each of the gathered rows, times its weight."""
    return FLOPS_PER_MAC * prod(indices) * weight[-1]
