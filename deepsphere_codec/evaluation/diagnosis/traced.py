"""Record of a coded frame for the diagnosis, and the PSNR of signals on nodes, independent of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepsphere_codec.metrics.psnr import MAX_DB, combine_yuv

Signal = Float[Tensor, "1 npix 3"]


class TracedFrame(NamedTuple):
    """Coded frame: the bits of its parts, and the intermediate pictures of its reconstruction.

    Signals are Y, Cb, Cr over 255 on the model's nodes, [1, npix, 3], on the CPU.

    Attributes:
        number: Position in order of display, from 0.
        frame_type: "I", "P" or "B".
        parts: Bits of each part of the payload, by name, "overhead" last; they sum to the payload's bits.
        prediction: Pictures along the prediction, by name in order: "reference", "moved", "overlapped"; empty for an
            I-frame.
        references: Decoded reference frames in order of display; empty for an I-frame.
        x_hat: Reconstruction.
    """

    number: int
    frame_type: str
    parts: Mapping[str, int]
    prediction: Mapping[str, Signal]
    references: tuple[Signal, ...]
    x_hat: Signal


class NodePsnr(NamedTuple):
    """PSNR over nodes, weighted by the nodes' areas, in dB, at most 100.

    Attributes:
        y: PSNR of luma.
        yuv: PSNR of Y, Cb and Cr, averaged in decibels with weights 6:1:1.
    """

    y: float
    yuv: float


def node_psnr(x: Signal, x_hat: Signal, areas: Float[np.ndarray, " npix"]) -> NodePsnr:
    """Compute the WS-PSNR of a signal on nodes.

    On HEALPix all areas are equal, so that WS-PSNR is plain PSNR over the nodes.

    Args:
        x: Source, [1, npix, 3], values in [0, 1].
        x_hat: Picture to compare, same shape; clipped to [0, 1] first, as for display.
        areas: Area of each node relative to their mean, [npix].
    Returns:
        PSNR of luma and of all planes.
    """
    squares = (x - x_hat.clamp(0, 1))[0].double().square()
    errors = (squares * torch.from_numpy(areas)[:, None]).mean(0)
    decibels = [min(MAX_DB, -10 * math.log10(error)) if error > 0 else MAX_DB for error in errors.tolist()]
    return NodePsnr(decibels[0], float(combine_yuv(*map(np.asarray, decibels))))
